"""Put Lightning's Trainer together."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, PyTorchProfiler, SimpleProfiler
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy

from ffattn.lightning.checkpoint_io import AtomicCheckpointIO
from ffattn.lightning.process_group import environment

_PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Let torch use so many threads for a while: the next job of a sweep may want others.

    Args:
        count: How many, or None for no change.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def quiet_lightning() -> None:
    """Drop messages that a newcomer can do nothing about: device lists, tips, and notes on our own loaders."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        ".*LeafSpec.*",  # torch 2.13 under lightning 2.6
        ".*smaller than the logging interval.*",  # our callbacks log, not Lightning's interval
        ".*does not have many workers.*",
        ".*sync_dist=True.*",  # scores are those of all processes before they are logged
        ".*exists and is not empty.*",  # a resumed run's directory
        ".*GPU available but not used.*",  # accelerator=cpu
        ".*constructed with capturable=True.*",  # the updates before a CUDA graph is captured
        ".*You defined a `validation_step` but have no `val_dataloader`.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def make_trainer(
    folder: Path,
    loggers: list[Logger],
    callbacks: list[Callback],
    *,
    device: str = "cpu",
    devices: int = 1,
    num_nodes: int = 1,
    is_sharded: bool = False,
    precision: str = "32",
    updates: int = 100_000,
    accumulate: int = 1,
    gradient_clip: float | None = None,
    ema_decay: float | None = None,
    detect_anomaly: bool = False,
    profiler: str = "none",
) -> Trainer:
    """Make a Trainer that writes to the run directory and nowhere else, and prints nothing.

    Args:
        folder: The run directory.
        loggers: Where curves go.
        callbacks: Checkpoints, curves, progress.
        device: `cpu` or `gpu`.
        devices: Processes on each machine, one GPU each.
        num_nodes: Machines.
        is_sharded: Whether several processes divide the parameters, too.
        precision: Lightning's name of the precision.
        updates: The most updates of the run.
        accumulate: Batches in an update.
        gradient_clip: Largest norm of the gradient, or None.
        ema_decay: Decay of averaged weights, or None.
        detect_anomaly: Let autograd check every operation.
        profiler: `none`, `simple`, `advanced` or `pytorch`.

    Returns:
        The Trainer, for one process, or for one of several that average their gradients.
    """
    averaging: list[Callback] = [EMAWeightAveraging(decay=ema_decay)] if ema_decay is not None else []
    return Trainer(
        default_root_dir=folder,
        logger=loggers or False,
        callbacks=[*averaging, *callbacks],
        plugins=[AtomicCheckpointIO(), environment()],
        accelerator=device,
        devices=devices,
        num_nodes=num_nodes,
        strategy=_strategy(devices * num_nodes, is_sharded),
        precision=precision,  # type: ignore[arg-type]
        max_steps=updates,
        max_epochs=-1,
        accumulate_grad_batches=accumulate,
        gradient_clip_val=gradient_clip,
        detect_anomaly=detect_anomaly,
        profiler=_profiler(profiler, folder),
        num_sanity_val_steps=0,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        enable_model_summary=False,
        use_distributed_sampler=False,
    )


def _strategy(processes: int, is_sharded: bool) -> str | Strategy:
    if processes > 1 and is_sharded:
        return ModelParallelStrategy(processes, tensor_parallel_size=1, save_distributed_checkpoint=False)
    return "ddp" if processes > 1 else "auto"


class _NoProfiler(PassThroughProfiler):
    """Measures nothing. Lightning's own makes a generator for each of some 45 actions of an update."""

    _nothing: AbstractContextManager[None] = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        """Return one context for all actions."""
        return self._nothing


def _profiler(kind: str, folder: Path) -> Profiler:
    return _NoProfiler() if kind == "none" else _PROFILERS[kind](dirpath=folder, filename="profile")
