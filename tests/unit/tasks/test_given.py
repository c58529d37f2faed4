"""Given sequences: every pass has each of them once, and a batch is a function of its numbers alone."""

import itertools
import json
import re

import numpy as np
import pytest
import torch

from ffattn.errors import DataError, SettingError
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import File, Fixed

COUNT = 40
TRAIN = Stream(3, Split.TRAIN)


@pytest.fixture
def path(tmp_path):
    """Sequences of 1 to 5 steps, whose first value is their number."""
    rows = [{"a": [i + 0.25] + [0.5] * (i % 5), "y": i / 7, "k": "xyz"[i % 3]} for i in range(COUNT)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(tmp_path / "data.jsonl")


def numbers(task, batch):
    """The sequences of a batch, by their first value as it stands in the file."""
    feature = task.preparation.features[0]
    return (batch.x[:, 0, 0] * feature.scale + feature.mean).floor().int().tolist()


def training(task, *sequences, stream=TRAIN, part=(0, 1)):
    return task.training_batch(stream, 0, torch.tensor(sequences), part)


def test_a_pass_has_every_training_sequence_once(path):
    task = File(path=path, target="y")
    size = task.size(Split.TRAIN)
    passes = [numbers(task, training(task, *range(i * size, (i + 1) * size))) for i in range(3)]
    assert all(sorted(one) == sorted(passes[0]) for one in passes)
    assert len(set(passes[0])) == size
    assert passes[0] != passes[1] != passes[2]


def test_parts_have_no_sequence_in_common(path):
    task = File(path=path, target="y")
    found = [numbers(task, task.evaluation_batch(Stream(0, Split.VAL), 6, torch.arange(task.size(Split.VAL))))]
    found += [numbers(task, task.evaluation_batch(Stream(0, Split.TEST), 6, torch.arange(task.size(Split.TEST))))]
    found += [numbers(task, training(task, *range(task.size(Split.TRAIN))))]
    assert sorted(itertools.chain(*found)) == list(range(COUNT))


def test_a_batch_is_a_function_of_its_numbers(path):
    def made(*sequences):
        task = File(path=path, target="y")
        return numbers(task, training(task, *sequences))

    assert made(*range(20, 40)) == made(*range(20, 30)) + made(*range(30, 40))


def test_seeds_have_orders_of_their_own(path):
    task = File(path=path, target="y")
    orders = [numbers(task, training(task, *range(28), stream=Stream(seed, Split.TRAIN))) for seed in (0, 1)]
    assert orders[0] != orders[1]


def test_batches_are_padded_with_zeros(path):
    batch = training(File(path=path, target="y"), *range(28))
    assert batch.x.shape[1] == batch.lengths.max() == 5
    padding = torch.arange(5) >= batch.lengths[:, None]
    assert (batch.x[padding] == 0).all()
    assert (batch.x[~padding] != 0).all()


def test_parts_of_time_put_together_are_the_whole(path):
    task = File(path=path, target="y")
    whole = training(task, *range(10))
    pieces = [training(task, *range(10), part=(i, 2)) for i in range(2)]
    assert torch.equal(torch.cat([piece.x for piece in pieces], dim=1), whole.x)
    assert torch.equal(pieces[1].lengths, whole.lengths)


def test_the_baseline_of_classes_is_the_largest(path):
    task = File(path=path, target="k", features="a")
    shares = np.bincount(task.given(Split.TRAIN).y.numpy()) / task.size(Split.TRAIN)
    assert task.baseline().accuracy == pytest.approx(shares.max())
    assert task.baseline().error == pytest.approx(-(shares * np.log(shares)).sum())
    assert task.is_classification
    assert task.num_outputs == 3


def test_the_baseline_of_numbers_is_the_best_window(path):
    task = File(path=path, target="y", tolerance=0.5)
    y = task.given(Split.TRAIN).y.double().flatten().numpy()
    best = max((np.abs(y - centre) < 0.5).mean() for centre in np.linspace(-3, 3, 20001))
    assert task.baseline().accuracy == pytest.approx(best)
    assert task.baseline().error == pytest.approx(1)


def test_a_file_of_the_tests_own(path, tmp_path):
    (tmp_path / "test.jsonl").write_text(json.dumps({"a": [7.0], "y": 1.5}) + "\n")
    task = File(path=path, target="y", features="a", test_path=str(tmp_path / "test.jsonl"))
    assert (task.size(Split.TEST), task.size(Split.TRAIN) + task.size(Split.VAL)) == (1, COUNT)


def test_a_restored_task_needs_no_file(path):
    task = File(path=path, target="y")
    state = task.state()
    other = File(path="gone.jsonl", target="y")
    other.restore(state)
    assert (other.num_features, other.length.T, other.preparation) == (1, 5, task.preparation)
    with pytest.raises(DataError, match="there is no such file"):
        other.given(Split.TRAIN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": ""}, "path=: must be a file"),
        ({"target": None}, "target=None: missing; give task.target=COLUMN"),
        ({"target": 3.5}, "target=3.5: must be a column, or a list of columns"),
        ({"features": []}, "features=[]: must be a column, or a list of columns"),
        ({"split": "group"}, "split_by=None: split=group needs a column"),
        ({"split": "stratified", "target": ["y", "z"]}, "split_by=None: split=stratified needs a column where there"),
        ({"split_by": "k"}, "split_by=k: has no meaning for split=random"),
        ({"val_share": 0.5, "test_share": 0.5}, "test_share=0.5: leaves nothing beside val_share=0.5"),
        (
            {"split": "column", "split_by": "k", "test_path": "t.csv"},
            "test_path=t.csv: cannot be combined with split=column",
        ),
        ({"length": Fixed(T=3)}, "length=fixed: these sequences have their own lengths"),
        ({"missing": "ignore"}, "missing=ignore: must be one of refuse, impute, mask"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        File(**{"path": "data.csv", "target": "y"} | settings)
