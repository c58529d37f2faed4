"""What an update of a run takes, measured."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ffattn.config.schema import NONE, Train
from ffattn.lightning.trainer import make_trainer, quiet_lightning, threads
from ffattn.runs.building import make_data, make_module
from ffattn.system.denormals import flushed_denormals
from ffattn.system.provenance import peak_memory_mb

_FEWEST = 3  # updates that are measured after the first, however long they take
_MOST = 200  # updates that are made
_SECONDS = 1.0  # after which measuring stops


class Cost(NamedTuple):
    """What one update takes.

    Attributes:
        seconds: With its batch.
        memory_mb: The most that this process has used so far, in MB (10^6 bytes).
    """

    seconds: float
    memory_mb: float


class _UpdateTimes(Callback):
    """Notes when updates end, and stops after a second."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
        """Look at the clock."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
        if len(self.times) < trainer.global_step:  # of several batches in an update, the last
            self.times.append(time.perf_counter())
        if len(self.times) > _FEWEST and self.times[-1] - self.times[0] > _SECONDS:
            trainer.should_stop = True


def measure(settings: Train, num_threads: int) -> Cost:
    """Train for about a second, in one process, and forget it.

    Args:
        settings: The run.
        num_threads: CPU threads, unless the run has a number of its own.
    """
    quiet_lightning()
    alone = replace(settings.accelerator, divide=NONE, devices=1, num_nodes=1)
    settings = replace(settings, accelerator=alone, resume=None)
    clock = _UpdateTimes()
    with flushed_denormals(), threads(alone.num_threads or num_threads), tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            Path(folder),
            [],
            [clock, Checkpoint()],  # the second does nothing, and keeps Lightning from making one
            device=alone.resolved,
            precision=settings.precision,
            updates=_MOST,
            accumulate=settings.trainer.accumulate,
        )
        trainer.fit(make_module(settings), make_data(settings))
    seconds = median(end - start for start, end in zip(clock.times, clock.times[1:], strict=False))
    return Cost(seconds, peak_memory_mb(alone.torch_device))
