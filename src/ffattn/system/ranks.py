"""Whether this process is one of several that were started together, and which one."""

import os
from typing import NamedTuple


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
    """What torchrun (or this package's own launcher, which uses it) or Slurm's srun says of this process."""
    names: dict[str, tuple[str, ...]] = {
        "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
        "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES"),
    }
    for starter, needed in names.items():
        if all(name in os.environ for name in needed):
            rank, size, third = (int(os.environ[name]) for name in needed[:3])
            return World(rank, size, size // third if starter == "srun" else third, starter)
    return World()
