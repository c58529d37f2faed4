"""The lock of a run directory: no two processes write there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ffattn.config.errors import ConfigError

_LOCK_TIMEOUT = 0.2  # seconds; `is_busy` of another process holds a lock for an instant
_held: list[FileLock] = []  # by this process


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
        lock = FileLock(folder / ".hydra" / "lock").acquire(timeout=_LOCK_TIMEOUT)
    except Timeout as error:
        raise BusyError(f"{folder}: another process is writing here") from error
    _held.append(lock.lock)
    try:
        with lock:
            yield
    finally:
        _held.remove(lock.lock)


def release_locks() -> None:
    """Let go of all run directories: this process is about to end."""
    for lock in _held:
        lock.release(force=True)


def is_busy(folder: Path) -> bool:
    """Return whether a process writes to a run directory.

    Args:
        folder: The run directory.
    """
    try:
        with locked(folder):
            return False
    except BusyError:
        return True
