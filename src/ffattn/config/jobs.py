"""Which jobs a sweep has, where each one is written, and that no two processes write there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.types import Override

from ffattn.config.errors import ConfigError


class Place(NamedTuple):
    """A job among those of its sweep.

    Attributes:
        folder: Its run directory.
        name: The directory's path below the sweep's.
        number: Which job it is, from 1.
        total: How many there are.
    """

    folder: Path
    name: str
    number: int
    total: int


class Sweep(NamedTuple):
    """What a command does around the jobs of a sweep.

    Attributes:
        run_job: Does a job's work, which returns whether there was anything left to do, and keeps a failure from the
            other jobs.
        finish: Called at the end with the sweep's directory and, for every job's, whether it had finished before;
            returns the exit status.
    """

    run_job: Callable[[Callable[[], bool], Place], None]
    finish: Callable[[Path, Mapping[Path, bool]], int]


def job_overrides(overrides: list[Override]) -> Iterator[list[str]]:
    """The overrides of each job of Hydra's basic sweeper.

    Args:
        overrides: Of the command line.
    """
    for batch in BasicSweeper.split_arguments(overrides, max_batch_size=None):
        yield from (list(job) for job in batch)


def job_directory(base: str, overrides: list[Override], groups: set[str]) -> str:
    """Where a job is written, below the sweep's directory: a common beginning, then what differs between jobs.

    Args:
        base: The beginning, with interpolations; what differs and is named there is not named again.
        overrides: Of the command line.
        groups: The keys that choose a file of a group.

    Returns:
        A value of hydra.sweep.subdir, such as `.../T${T}/lr${optim.lr}_seed${seed}`.
    """
    values = {str(o.key_or_group): f"${{{o.key_or_group}}}" for o in overrides if o.is_sweep_override()}
    values |= {key: f"-${{hydra.runtime.choices.{key}}}" for key in values if key in groups}
    differing = {key: value for key, value in values.items() if value.strip("-") not in base}
    last = [key.rpartition(".")[2] for key in differing]
    names = [short if last.count(short) == 1 else key for short, key in zip(last, differing, strict=True)]
    own = "_".join(name + value for name, value in zip(names, differing.values(), strict=True))
    return f"{base}/{own}" if own else base


class BusyError(ConfigError):
    """Another process writes to a run directory."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a run directory for a while; the system lets go of it if this one dies.

    Args:
        folder: The run directory.

    Raises:
        BusyError: Another process does.
    """
    try:
        (folder / ".hydra").mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".hydra" / "lock").acquire(timeout=0)
    except Timeout as error:
        raise BusyError(f"{folder}: another process is writing here") from error
    with lock:
        yield


def is_busy(folder: Path) -> bool:
    """Whether a process writes to a run directory.

    Args:
        folder: The run directory.
    """
    try:
        with locked(folder):
            return False
    except BusyError:
        return True
