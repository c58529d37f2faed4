"""Several processes of one run: how they meet, whoever has started them."""

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from ffattn.system.ranks import world

T = TypeVar("T")
_GRACE = 5  # seconds in which the launcher finds the process that failed, before those that have lost it fail as well


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
