"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ffattn.errors import reason_of
from ffattn.system.signals import writing


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file whole or not at all: what was there before stays until then.

    Args:
        path: The file, in a folder that exists.

    Yields:
        A path beside it, with the same suffix, for this process alone; what is written there takes the file's place.

    Raises:
        OSError: It cannot be written; names the file, which the system does not do where it was open.
    """
    part = _part(path)
    with writing():  # a signal that waits for this may end the process
        try:
            with errors_naming(path):
                yield part
                sync(part)
                part.replace(path)
                sync(path.parent)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Let the system's errors name the file that is written, if they name none, or the one beside it.

    Args:
        path: The file.

    Raises:
        OSError: One was raised within.
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(_part(path)):
            raise
        raise OSError(error.errno, reason_of(error), str(path)) from error


def _part(path: Path) -> Path:
    return path.with_name(f"part.{os.getpid()}.{path.name}")


def sync(path: Path) -> None:
    """Let a file, or the names in a folder, survive a loss of power.

    Args:
        path: The file or folder.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
