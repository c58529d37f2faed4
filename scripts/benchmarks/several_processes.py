"""Training steps of one and of several processes: time, memory and bytes exchanged; the tables in docs/scale.md.

python -m scripts.benchmarks.several_processes --divide time --T 10000000 --batch 2 --updates 3
python -m scripts.benchmarks.several_processes --divide batch --T 1000 --batch 100 --updates 300

`--batch` is the whole batch where time is divided (the same work, divided), and each process's own where the batch is
(more work for more processes). Every process has one thread.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from ffattn.lightning import DividedModule, SequenceData, SequenceModule
from ffattn.lightning.launch import launch
from ffattn.lightning.process_group import together
from ffattn.lightning.trainer import make_trainer, quiet_lightning
from ffattn.models import FFAttention
from ffattn.system.provenance import commit, peak_memory_mb, versions
from ffattn.system.ranks import world
from ffattn.tasks import Add, Fixed


class Meter(Callback):
    """Measures the updates of this process, and how many bytes it gives to sums over all processes."""

    def __init__(self) -> None:
        self.bytes = {"attention": 0, "gradients": 0}
        self.times: list[float] = []
        self.memory_before = peak_memory_mb(torch.device("cpu"))

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Count the bytes of every sum over processes."""
        if trainer.world_size > 1:
            trainer.strategy.model.register_comm_hook(None, self._reduce_gradients)
        self.all_reduce: Callable[..., Any] = distributed.all_reduce
        distributed.all_reduce = self._all_reduce

    def on_train_end(self, *_: Any) -> None:
        """Stop counting."""
        distributed.all_reduce = self.all_reduce

    def _reduce_gradients(self, state: None, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
        self.bytes["gradients"] += bucket.buffer().nbytes
        return allreduce_hook(None, bucket)

    def _all_reduce(self, tensor: Tensor, *arguments: Any, **options: Any) -> Any:
        self.bytes["attention"] += 0 if options.get("async_op") else tensor.nbytes  # the gradients' sum is
        return self.all_reduce(tensor, *arguments, **options)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Any, optimizer: Any) -> None:
        """Keep the first update's gradients."""
        if trainer.global_step == 0:
            self.gradients = [parameter.grad.clone() for parameter in pl_module.network.parameters()]

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())
        if trainer.global_step == 1:
            self.loss = float(outputs["loss"])

    def report(self) -> dict[str, Any]:
        """Seconds of an update with its batch, the first one aside; bytes of an update; memory."""
        peak = peak_memory_mb(torch.device("cpu"))
        return {
            "seconds": median(b - a for a, b in zip(self.times, self.times[1:], strict=False)),
            "bytes": {name: count // len(self.times) for name, count in self.bytes.items()},
            "peak": peak,
            "growth": peak - self.memory_before,
            "loss": self.loss,
            "gradients": self.gradients,
        }


def work(folder: str, divide: str, T: int, batch: int, updates: int) -> None:
    """What each process does: some updates, measured.

    Args:
        folder: Where its report goes.
        divide: `time` or `batch`.
        T: Length of all sequences.
        batch: Sequences in a batch: of all processes where time is divided, of each where the batch is.
        updates: How many.
    """
    torch.set_num_threads(1)
    quiet_lightning()
    size = world().size
    divides_time = divide == "time"
    with together("cpu"):
        task = Add(length=Fixed(T=T))
        module = (DividedModule if size > 1 and divides_time else SequenceModule)(task, FFAttention())
        whole = batch if divides_time else batch * size
        data = SequenceData(task, batch_size=whole, validate_every=10**6, divides_time=divides_time)
        meter = Meter()
        make_trainer(Path(folder), False, [meter], devices=size, updates=updates).fit(module, data)
        torch.save(meter.report(), f"{folder}/{world().rank}")


def measure(processes: int, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The reports of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        settings = arguments.divide, arguments.T, arguments.batch, arguments.updates
        launch(work, processes, folder, *settings)
        return [torch.load(f"{folder}/{rank}") for rank in range(processes)]


def row(processes: int, reports: list[dict[str, Any]], alone: dict[str, Any], divides_time: bool) -> str:
    """A row of the table."""
    first = reports[0]
    seconds = max(report["seconds"] for report in reports)
    efficiency = alone["seconds"] / seconds / (processes if divides_time else 1)
    mine, whole = (torch.cat([part.flatten() for part in report["gradients"]]) for report in (first, alone))
    difference = float((mine - whole).norm() / whole.norm())
    cells = [
        processes,
        f"{seconds:.4f}",
        f"{efficiency:.0%}",
        ", ".join(f"{report['peak']:.0f}" for report in reports),
        ", ".join(f"{report['growth']:.0f}" for report in reports),
        f"{first['bytes']['attention']:,}",
        f"{first['bytes']['gradients']:,}",
        f"{abs(first['loss'] / alone['loss'] - 1):.0e}" if divides_time else "",
        f"{difference:.0e}" if divides_time else "",
    ]
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--divide", choices=("time", "batch"), default="time")
    parser.add_argument("--T", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--updates", type=int, default=4)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    print(f"T = {arguments.T:,}, batch {arguments.batch}; torch {versions()['torch']}, commit {commit()}:\n")
    print(
        "| processes | s/update | efficiency | peak memory of each, MB | growth of each, MB "
        "| bytes, attention | bytes, gradients | loss, relative difference | gradient, relative difference |"
    )
    print("|" + "---:|" * 9)
    report = partial(measure, arguments=arguments)
    alone = report(1)
    for processes in arguments.processes:
        reports = [alone[0]] if processes == 1 else report(processes)
        print(row(processes, reports, alone[0], arguments.divide == "time"), flush=True)


if __name__ == "__main__":
    main()
