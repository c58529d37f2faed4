"""A signal to a sweep reaches the processes of its jobs, which save before it ends."""

import importlib.util
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from ffattn.config.lock import is_busy

_GRACE = 20.0  # seconds in which the jobs may save
_PAUSE = 0.2  # seconds between looks


@contextmanager
def handing_on(folders: Callable[[], list[Path]]) -> Iterator[None]:
    """Let a signal reach the processes that a launcher has started, and wait until their runs have been saved.

    Otherwise they would outlive this one, or be killed by the launcher on its way out. A job in this process has
    handlers of its own while it trains.

    Args:
        folders: Returns the run directories of the jobs.
    """

    def hand_on(number: int, frame: FrameType | None) -> None:
        end = time.monotonic() + (_GRACE if _end_children() else 0)  # a job in this process has nothing to wait for
        started = [folder for folder in folders() if (folder / ".hydra").exists()]  # to look at others would make them
        while time.monotonic() < end and any(map(is_busy, started)):
            time.sleep(_PAUSE)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, hand_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_children() -> bool:
    """Send SIGTERM to all processes below this one, if there are any; SIGUSR1 would end the launchers' helpers, too."""
    if importlib.util.find_spec("psutil") is None:  # it comes with the launchers that start processes
        return False
    import psutil

    children = psutil.Process().children(recursive=True)
    for process in children:
        with suppress(psutil.Error):
            process.terminate()
    return bool(children)
