"""Several processes of one run: how they are started, how they meet, and how they end together."""

import gc
import logging
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, set_forkserver_preload
from typing import Any, TypeVar

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ffattn import errors
from ffattn.errors import FFAttnError, TrainingError
from ffattn.lightning.callbacks.signals import SIGNALS
from ffattn.system.ranks import world

T = TypeVar("T")
_HANDED_ON = *SIGNALS, signal.SIGHUP, signal.SIGQUIT  # by the launcher to the processes
_GRACE = 5  # seconds in which the launcher finds the process that failed, before those that have lost it fail as well


def launch(work: Callable[..., object], processes: int, *arguments: Any) -> None:
    """Run a function in several processes of this machine, which find each other as torchrun's do.

    If one fails, or this process is told to end, all end.

    Args:
        work: A function that a new process can import. A program that calls this needs `if __name__ == "__main__":`.
        processes: How many.
        *arguments: For the function; they are pickled.

    Raises:
        FFAttnError: A process raised one, or ended in another way.
        SystemExit: The processes were interrupted: 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1.
    """
    set_forkserver_preload(["ffattn.runs.training"])  # imported once, by the process that the others are forked from
    with tempfile.TemporaryDirectory() as folder, _own_signals(), _silence():
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
            signals_to_handle=",".join(number.name for number in _HANDED_ON),
        )
        try:
            elastic_launch(config, _attended)(work, *arguments)
        except SignalException as stop:
            sys.exit(128 + stop.sigval)
        except ChildFailedError as error:
            raise _cause(error) from None


def _attended(work: Callable[..., object], *arguments: Any) -> None:
    """Work, and end if the launcher does: were that killed, this process would go on in a directory without a lock."""
    launcher = multiprocessing.parent_process()
    assert launcher is not None

    def watch() -> None:
        connection.wait([launcher.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    work(*arguments)


def _cause(error: ChildFailedError) -> BaseException:
    """What to raise for a process that failed: its own error, where that is one for the user."""
    rank, failure = error.get_first_failure()
    if (number := max(-failure.exitcode, failure.exitcode - 128)) in SIGNALS:
        return SystemExit(128 + number)
    if failure.exitcode < 0:
        return TrainingError(f"process {rank} was ended by {failure.signal_name()}; resume=last goes on")
    message = failure.error_file_data.get("message")  # of torch's @record, or why there is none
    if not isinstance(message, dict):
        return TrainingError(f"process {rank} ended with status {failure.exitcode}; resume=last goes on")
    kind, _, text = message["message"].partition(": ")
    if issubclass(getattr(errors, kind, object), FFAttnError):
        return TrainingError(text)
    if refused := re.fullmatch(r"\[Errno \d+\] (.+): '(.+)'", text):  # by the system, which names a file
        return TrainingError(f"{refused[2]}: {refused[1]}")
    print(message["extraInfo"]["py_callstack"], file=sys.stderr)
    return TrainingError(f"process {rank} failed: {message['message']}")


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher takes signals and leaves its handlers behind."""
    kept = {number: signal.getsignal(number) for number in _HANDED_ON}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _silence() -> Iterator[None]:
    """What the launcher logs, an error says in one line; this process does nothing else meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def environment() -> ClusterEnvironment:
    """How this process finds the others of its run."""
    if world().size == 1:  # also inside a Slurm allocation
        return LightningEnvironment()
    return TorchElasticEnvironment() if world().starter == "torchrun" else SLURMEnvironment(auto_requeue=False)


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
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):  # another process has gone
            time.sleep(_GRACE)
        raise
    distributed.barrier()  # the first process has written the result
    gc.collect()  # what refers to the group: it has threads, which must have ended before Python does
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
