"""Batches for Lightning: pure functions of their number, whatever the process and the step."""

from types import SimpleNamespace

import pytest
import torch
from tiny_runs import equal

from ffattn.lightning import SequenceData
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Paper, Variable

LOADERS = ["train_dataloader", "val_dataloader", "test_dataloader"]
LENGTHS = {"paper": Paper(T=12), "variable": Variable(T=30, min=12)}


def data_of(rank=0, world=1, step=0, length="paper", accumulate=1, **options):
    """The data of a process that has made some optimiser steps."""
    data = SequenceData(
        Add(length=LENGTHS[length]), **({"batch_size": 7, "sequences": 17, "validate_every": 3} | options)
    )
    device = torch.device("cpu")
    data.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world,
        global_step=step,
        strategy=SimpleNamespace(root_device=device),
        accumulate_grad_batches=accumulate,
        limit_train_batches=1.0,
        overfit_batches=0,
    )
    return data


def training_batch(data, number):
    """A training batch straight from the task."""
    sequences = torch.arange(number * data.batch_size, (number + 1) * data.batch_size)
    return data.task.training_batch(Stream(data.seed, Split.TRAIN), number, sequences)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("loader", LOADERS)
def test_the_parts_of_several_processes_make_up_the_batches_of_one(world, loader, length):
    whole = list(getattr(data_of(length=length), loader)())
    parts = [list(getattr(data_of(rank, world, length=length), loader)()) for rank in range(world)]
    assert len(whole) == 3
    for number, batch in enumerate(whole):
        assert torch.equal(torch.cat([part[number].y for part in parts]), batch.y)
        assert torch.equal(torch.cat([part[number].lengths for part in parts]), batch.lengths)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("loader", LOADERS)
def test_processes_can_divide_the_time_of_all_sequences(world, loader, length):
    whole = list(getattr(data_of(length=length), loader)())
    parts = [list(getattr(data_of(rank, world, length=length, divides_time=True), loader)()) for rank in range(world)]
    for number, batch in enumerate(whole):
        mine = [part[number] for part in parts]
        assert torch.equal(torch.cat([part.x for part in mine], dim=1), batch.x)
        assert max(part.x.shape[1] for part in mine) == -(-batch.x.shape[1] // world)
        assert all(equal(part[1:], batch[1:]) for part in mine)


@pytest.mark.parametrize("length", LENGTHS)
def test_a_process_without_a_sequence_of_the_last_batch_leaves_it_out(length):
    numbers = [len(list(data_of(rank, 2, batch_size=8, length=length).val_dataloader())) for rank in (0, 1)]
    assert numbers == [2, 3]  # of 17 sequences


@pytest.mark.parametrize("loader", LOADERS)
def test_a_process_makes_the_rows_that_another_number_of_processes_would(loader):
    whole = next(iter(getattr(data_of(batch_size=4), loader)()))
    second = next(iter(getattr(data_of(1, 2, batch_size=4), loader)()))
    assert torch.equal(second.x, whole.x[2:])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("step", [0, 1, 4, 5, 7])
def test_training_goes_on_from_the_optimisers_step_to_the_next_validation(step, length):
    data = data_of(step=step, length=length, validate_every=5, accumulate=2)
    end = 10 * (step // 5 + 1)
    loaded = list(data.train_dataloader())
    assert len(loaded) == end - 2 * step
    assert all(equal(batch, training_batch(data, 2 * step + i)) for i, batch in enumerate(loaded))
    assert len(data.train_dataloader()) == 10


@pytest.mark.parametrize(("loader", "split"), [("val_dataloader", Split.VAL), ("test_dataloader", Split.TEST)])
@pytest.mark.parametrize("batch_size", [1, 7, 17, 100])
def test_evaluation_sets_do_not_depend_on_the_batch_size(loader, split, batch_size):
    data = data_of(length="variable", batch_size=batch_size)
    whole = data.task.evaluation_batch(Stream(0, split), 17, torch.arange(17))
    assert torch.equal(torch.cat([batch.y for batch in getattr(data, loader)()]), whole.y)
    assert len(getattr(data, loader)()) == -(-17 // batch_size)


def test_training_validation_and_test_share_no_sequence():
    data = data_of(sequences=21)
    targets = [torch.cat([batch.y for batch in getattr(data, loader)()]).flatten() for loader in LOADERS]
    assert len(torch.cat(targets).unique()) == 3 * 21


def test_a_few_distinct_batches_are_also_the_validation_set():
    data = data_of(distinct_batches=2)
    assert equal(list(data.val_dataloader()), [training_batch(data, 0), training_batch(data, 1)])
    assert equal(list(data.train_dataloader()), [training_batch(data, number) for number in (0, 1, 0)])


def test_loading_does_not_touch_torchs_random_numbers():
    before = torch.get_rng_state()
    assert len(list(data_of().train_dataloader())) == 3
    assert torch.equal(torch.get_rng_state(), before)
