"""Mistakes in a configuration, in words for the person who made them."""

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import CompactHydraException

from ffattn.errors import FFAttnError

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # of an open file the error has no name


class ConfigError(CompactHydraException, FFAttnError, ValueError):
    """What a user gave cannot work; the message says what, where and what would, a line for each mistake."""


class DamagedError(ConfigError):
    """A file of a run cannot be read; in a sweep that is the failure of its job, not a mistake of the user."""


class DiskError(FFAttnError):
    """A file cannot be read or written; the message names it and says why."""


@contextmanager
def disk_errors(place: Path | str) -> Iterator[None]:
    """Take what the system says of files for something that its user can mend.

    Args:
        place: What is named if the system names no file.

    Raises:
        DiskError: A disk is full, a folder may not be written to, a file is not there.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno not in _DISK:
            raise
        raise DiskError(f"{error.filename or place}: {error.strerror}") from error


def wants_traceback() -> bool:
    """Return whether `HYDRA_FULL_ERROR=1` asks where an error came from."""
    return os.environ.get("HYDRA_FULL_ERROR", "0") not in {"", "0"}


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return `; did you mean ...?` for a misspelt dotted key, or an empty string.

    Args:
        name: What was given.
        candidates: What there is.
    """
    candidates = list(candidates)
    parent, _, leaf = name.rpartition(".")
    leaves: dict[str, str] = {}
    for key in sorted(candidates, key=lambda key: key.rpartition(".")[0] != parent):  # siblings first
        leaves.setdefault(key.rpartition(".")[2].lower(), key)
    close = difflib.get_close_matches(leaf.lower(), leaves, n=1, cutoff=0.65)
    return f"; did you mean {leaves[close[0]]}?" if close else ""
