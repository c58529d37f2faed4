"""Training on a GPU: the data and the course of a CPU run, with and without a captured step, and without waiting."""

import pytest
import torch
from tiny_runs import fit, read

from ffattn.lightning import SequenceModule
from ffattn.models import FFAttention
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Multiply, TemporalOrder2, Xor

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")]
RUN = {"T": 300, "batch_size": 20, "updates": 12, "trainer__validate_every": 6}


@pytest.mark.parametrize("task", [Add(), Multiply(), Xor(), TemporalOrder2()], ids=lambda task: task.name)
def test_batches_have_the_same_bits(task):
    sequences = torch.arange(7)
    stream = Stream(3, Split.TRAIN)
    there = task.training_batch(stream, 0, sequences.cuda())
    for column, twin in zip(there, task.training_batch(stream, 0, sequences), strict=True):
        assert torch.equal(column.cpu(), twin)


@pytest.mark.parametrize("model", ["ffattn", "mean", "lstm_attention", "lstm"])
def test_a_run_takes_the_course_of_a_cpu_run(tmp_path, model):
    options = RUN | {"model": model} | ({"model__dropout": 0} if model == "lstm_attention" else {})
    runs = [fit(tmp_path / device, accelerator=device, **options) for device in ("cpu", "gpu")]
    a, b = (read(run.folder)["state_dict"] for run in runs)
    torch.testing.assert_close({name: weight.cpu() for name, weight in b.items()}, a, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"model__score_jitter": 0.5}, {"model": "lstm_attention"}], ids=str)
def test_a_captured_step_does_the_same(tmp_path, options):
    runs = [
        fit(tmp_path / str(captured), accelerator="gpu", accelerator__cuda_graph=captured, **RUN, **options)
        for captured in (False, True)
    ]
    a, b = (read(run.folder)["state_dict"] for run in runs)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # which does not find all
def test_a_step_waits_for_nothing():
    """Batch, forward pass, backward pass and update are all launched without a look at the GPU."""
    task = Multiply()
    module = SequenceModule(task, FFAttention()).cuda()
    optimizer = module.configure_optimizers()
    sequences = torch.arange(100, device="cuda")

    def step(number):
        batch = task.training_batch(Stream(0, Split.TRAIN), number, sequences)
        loss = task.error(module(batch).prediction, batch.y).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step(0)  # kernels are compiled, memory is taken
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(1)
    finally:
        torch.cuda.set_sync_debug_mode("default")
