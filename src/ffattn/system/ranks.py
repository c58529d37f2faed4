"""Whether this process is one of several that were started together, and which one."""

import os
from typing import NamedTuple

_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
_TORCHRUN_MARK = "TORCHELASTIC_RUN_ID"  # tells torchrun from others that set those names
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES")


class World(NamedTuple):
    """The processes of one run.

    Attributes:
        rank: Number of this process, 0..size-1; the first one writes and prints.
        size: How many there are, on all machines.
        local_size: How many there are on this machine.
        starter: What started them: `torchrun` or `srun`; empty for a process on its own.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    starter: str = ""


def world() -> World:
    """Return what torchrun (or this package's own launcher, which uses it) or Slurm's srun says of this process."""
    if _are_set(*_TORCHRUN, _TORCHRUN_MARK):
        rank, size, local_size = _numbers(_TORCHRUN)
        return World(rank, size, local_size, "torchrun")
    if _are_set(*_SRUN):
        rank, size, machines = _numbers(_SRUN)
        return World(rank, size, size // machines, "srun")
    return World()


def _are_set(*names: str) -> bool:
    return all(name in os.environ for name in names)


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [int(os.environ[name]) for name in names]
