"""Tables of whole training steps, and of recurrent networks."""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from ffattn.config import schema
from ffattn.config.schema import Accelerator, Train
from ffattn.lightning import SequenceData, SequenceModule
from ffattn.lightning.modules.cuda_graph import capture, run_aside
from ffattn.lightning.trainer import quiet_lightning, threads
from ffattn.models import FFAttention
from ffattn.nn import RecurrentEncoder
from ffattn.ops import attention_pooling
from ffattn.optim import Adam
from ffattn.runs.building import make_data, make_module, trainer_of
from ffattn.tasks import Multiply
from ffattn.tasks.batch import Batch
from ffattn.tasks.length import Paper
from scripts.benchmarks.meters import now
from scripts.benchmarks.operators import BATCH, HIDDEN, OPERATIONS, TIMES, Problem, sgemm_rate

STEPS = {50: 2000, 500: 600, 10_000: 120}  # updates to time at each length
ROUNDS = 3
CLIP = schema.Trainer().gradient_clip  # None, unless the default changes
_WARM = 20


class _Timed(Exception):  # noqa: N818 (it is no error)
    """Enough updates have been timed."""


class _Stopwatch(Callback):
    """Times the updates after the first few, and ends the run without a validation."""

    def __init__(self, updates: int) -> None:
        self.updates = updates

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == _WARM:
            self.start = now()
        if trainer.global_step == self.updates:
            self.seconds = (now() - self.start) / (self.updates - _WARM)
            raise _Timed


def _settings(T: int, device: str, captured: bool = False) -> Train:
    """A run of the command, longer than what is timed of it, so that no validation is."""
    accelerator = Accelerator("gpu" if device == "cuda" else "cpu", cuda_graph=captured)
    trainer = schema.Trainer(validate_every=2 * STEPS[T])
    return Train(Multiply(length=Paper(T=T)), FFAttention(), Adam(), trainer, accelerator, T=T)


def lightning_step(T: int, device: str, captured: bool = False) -> float:
    """Seconds of an update in a run as the command makes it: curves, progress lines, TensorBoard, checkpoints."""
    settings = _settings(T, device, captured)
    watch = _Stopwatch(STEPS[T])
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
        trainer = trainer_of(settings, Path(folder))
        trainer.callbacks.append(watch)
        with suppress(_Timed):
            trainer.fit(make_module(settings), make_data(settings))
    return watch.seconds


def _batches(data: SequenceData, updates: int) -> Iterator[Batch]:
    group = data.train_dataloader().group
    for first in range(0, updates, group):
        yield from data.training_batches(range(first, first + group))


def bare_step(T: int, device: str) -> tuple[float, float]:
    """Seconds of an update in a plain loop with the same operator, and of making its batch."""
    settings = _settings(T, device)
    module = make_module(settings, SequenceModule).to(device)
    data = make_data(settings)
    optimizer = module.optim.optimizer(module.network.parameters())
    batches = _batches(data, STEPS[T])
    making = 0.0
    start = 0.0
    for update in range(STEPS[T]):
        if update == _WARM:
            making = 0.0
            start = now()
        before = time.perf_counter()
        batch = Batch(*(column.to(device) for column in next(batches)))
        making += time.perf_counter() - before
        loss = module.task.error(module.network(batch.x, batch.lengths).prediction, batch.y).mean()
        optimizer.zero_grad()
        loss.backward()
        with threads(1):  # as in `SequenceModule`: with more, the loop would be slower
            if CLIP is not None:
                torch.nn.utils.clip_grad_norm_(module.parameters(), CLIP)
            optimizer.step()
    return (now() - start) / (STEPS[T] - _WARM), making / (STEPS[T] - _WARM)


def step_table(device: str) -> Iterator[str]:
    """Whole updates, in Lightning as the command runs them, against a bare loop."""
    quiet_lightning()
    yield "\n## A whole update: multiplication, length=paper, batch 100, 100 hidden units\n"
    yield "| T | bare loop, updates/s | Lightning, updates/s | Lightning / bare | data, share of the bare step |"
    yield "|---:|---:|---:|---:|---:|"
    for T in STEPS:
        rounds = [(*bare_step(T, device), lightning_step(T, device)) for _ in range(ROUNDS)]
        bare, data, whole = (median(column) for column in zip(*rounds, strict=True))
        share = median(b / w for b, _, w in rounds)
        yield f"| {T:,} | {1 / bare:.0f} | {1 / whole:.0f} | {share:.0%} | {data / bare:.0%} |"


def gpu_table(device: str) -> Iterator[str]:
    """What bounds a GPU, kernels without what launches them, and the paper's own measure: an epoch at T = 10,000.

    Nothing on a CPU.
    """
    if device != "cuda":
        return
    numbers = torch.zeros(2**28, device=device)
    one = torch.zeros(1, device=device)
    twin = torch.empty_like(numbers)
    copy = _seconds_of(lambda: twin.copy_(numbers))
    yield "\n## GPU\n"
    yield f"Memory bandwidth {8 * numbers.numel() / copy / 1e9:.0f} GB/s (copies of 1 GiB); "
    yield f"launch of a small kernel {_seconds_of(lambda: one.add_(1)) * 1e6:.1f} us.\n"
    yield from _captured_rows(device)
    yield "\n1000 updates at T = 10,000 (the authors: 254 s on a GTX 980 Ti, Raffel & Ellis, section 2.2):\n"
    yield "| step | seconds |"
    yield "|---|---:|"
    for name, captured in (("plain Lightning", False), ("accelerator.cuda_graph=true", True)):
        yield f"| {name} | {1000 * lightning_step(10_000, device, captured):.2f} |"


def _captured_rows(device: str) -> Iterator[str]:
    """Forward and backward, one call queued behind the other, and as a replayed graph: the kernels alone."""
    yield "Milliseconds of forward and backward; `captured` replays a CUDA graph, so that only kernels take time:\n"
    yield "| T | this package, queued | captured | of the sgemm rate | eager, captured | eager / this, captured |"
    yield "|---:|---:|---:|---:|---:|---:|"
    rate = sgemm_rate(device)
    for T in TIMES:
        problem = Problem(T, device=device)
        step = problem.run(problem.fused)
        queued = _seconds_of(step)
        captured = _seconds_of(_captured(step))
        share = f"{OPERATIONS * BATCH * T * HIDDEN / captured / rate:.0%}"
        eager = _seconds_of(_captured(problem.run(problem.linear))) if problem.fits else None
        last = ["-", "-"] if eager is None else [f"{eager * 1e3:.3f}", f"{eager / captured:.1f}"]
        yield f"| {T:,} | {queued * 1e3:.3f} | {captured * 1e3:.3f} | {share} | {last[0]} | {last[1]} |"


def _captured(step: Callable[[], object]) -> Callable[[], object]:
    run_aside(step)
    return capture(step)


def _seconds_of(launch: Callable[[], object], repeats: int = 100) -> float:
    """Seconds of one of many calls that follow each other; the median of a few rounds."""
    rounds = []
    for _ in range(5):
        start = now()
        for _ in range(repeats):
            launch()
        rounds.append((now() - start) / repeats)
    return median(rounds[1:])


def _recurrent(T: int, device: str) -> dict[str, float]:
    """Median seconds, forward and backward, of an LSTM's encoder and of attention over its states."""
    encoder = RecurrentEncoder("lstm", 2, 128).to(device)
    x = torch.randn(100, T, 2, device=device)
    lengths = torch.full((100,), T, device=device)
    query = torch.randn(128, device=device, requires_grad=True)
    bias = torch.zeros(1, device=device)
    taken: dict[str, list[float]] = {"LSTM": [], "attention": []}
    for _ in range(7):
        start = now()
        states = encoder(x, lengths)
        states.backward(torch.ones_like(states))
        taken["LSTM"].append(now() - start)
        given = states.detach().requires_grad_()
        start = now()
        pooled, _ = attention_pooling(given, lengths, query, bias, score="tanh_states")
        pooled.context.sum().backward()
        taken["attention"].append(now() - start)
    return {name: median(values[1:]) for name, values in taken.items()}


def recurrent_table(device: str) -> Iterator[str]:
    """Where the time of the LSTM model goes, with and without oneDNN, on one thread and on all."""
    yield "\n## LSTM with attention: batch 100, 128 hidden units, forward and backward\n"
    yield "| T | threads | oneDNN | LSTM, ms | attention over its states, ms |"
    yield "|---:|---:|---|---:|---:|"
    threads = torch.get_num_threads()
    cases = itertools.product(sorted({1, threads}), (True, False)) if device == "cpu" else [(threads, True)]
    for T, (count, is_on) in itertools.product((100, 1000), list(cases)):
        torch.set_num_threads(count)
        with torch.backends.mkldnn.flags(enabled=is_on):
            taken = _recurrent(T, device)
        on = "on" if is_on else "off"
        yield f"| {T:,} | {count} | {on} | {taken['LSTM'] * 1e3:.1f} | {taken['attention'] * 1e3:.1f} |"
    torch.set_num_threads(threads)
