"""Several processes of one run: how they are started, how they meet, and how they end together."""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import set_forkserver_preload
from typing import Any, TypeVar

import torch
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import distributed
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ffattn import errors
from ffattn.errors import FFAttnError, TrainingError
from ffattn.world import world

T = TypeVar("T")
_INTERRUPTED = (128 + signal.SIGINT, 128 + signal.SIGTERM)


def launch(work: Callable[..., object], processes: int, *arguments: Any) -> None:
    """Run a function in several processes of this machine, which find each other as torchrun's do.

    If one fails, or this process is told to end, all end.

    Args:
        work: A function that a new process can import. A program that calls this needs `if __name__ == "__main__":`.
        processes: How many.
        *arguments: For the function; they are pickled.

    Raises:
        FFAttnError: A process raised one, or ended in another way.
        SystemExit: The processes were interrupted: 130 after Ctrl-C, 143 after SIGTERM.
    """
    set_forkserver_preload(["ffattn.experiment"])  # imported once, by the process that the others are forked from
    with tempfile.TemporaryDirectory() as folder, _own_signals(), _quiet_elastic():
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id="ffattn",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            start_method="forkserver",
            logs_specs=DefaultLogsSpecs(folder),
            numa_options=None,
            shutdown_timeout=10,
        )
        try:
            elastic_launch(config, work)(*arguments)
        except SignalException as stop:
            sys.exit(128 + stop.sigval)
        except ChildFailedError as error:
            raise _cause(error) from None


def _cause(error: ChildFailedError) -> BaseException:
    """What to raise for a process that failed: its own error, where that is one for the user."""
    rank, failure = error.get_first_failure()
    if failure.exitcode in _INTERRUPTED:
        return SystemExit(failure.exitcode)
    kind, _, text = str(failure.message).partition(": ")
    if issubclass(getattr(errors, kind, object), FFAttnError):
        return TrainingError(text)
    reason = failure.message if failure.exitcode > 0 else f"was ended by {failure.signal_name()}"
    return TrainingError(f"process {rank}: {reason}")


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher takes signals and leaves its handlers behind."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _quiet_elastic() -> Iterator[None]:
    """What the launcher logs, an error says in one line."""
    logger = logging.getLogger("torch.distributed.elastic")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def environment() -> ClusterEnvironment:
    """How this process finds the others of its run."""
    kinds = {"torchrun": TorchElasticEnvironment, "srun": lambda: SLURMEnvironment(auto_requeue=False)}
    starter = world().starter if world().size > 1 else ""
    return kinds.get(starter, LightningEnvironment)()  # one process, also inside a Slurm allocation


@contextmanager
def together(device: str) -> Iterator[None]:
    """Meet the other processes, where there are any; Lightning finds the group that this makes.

    Args:
        device: `cpu` or `gpu`.
    """
    if world().size == 1:
        yield
        return
    place = environment()
    os.environ.setdefault("MASTER_ADDR", place.main_address)
    os.environ.setdefault("MASTER_PORT", str(place.main_port))
    if device == "gpu":
        torch.cuda.set_device(place.local_rank())
    backend = "nccl" if device == "gpu" else "gloo"
    distributed.init_process_group(backend, rank=place.global_rank(), world_size=place.world_size())
    yield
    distributed.barrier()  # the first process has written the result
    distributed.destroy_process_group()  # not after an error: the others may be gone, and the launcher ends this one


def from_first(value: T) -> T:
    """The first process's value, in all of them.

    Args:
        value: Can be pickled; that of other processes does not matter.
    """
    if world().size == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


class EndTogether(Callback):
    """Let a signal end a process at once: one that first finished its update would wait for those that are gone.

    Nothing is lost, since checkpoints are whole files. Lightning's way, a broadcast at each update, would also make a GPU
    wait.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the place of Lightning's handlers, which it removes after the run."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: os._exit(128 + number))
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]
