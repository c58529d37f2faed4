"""How a signal ends a sweep: its jobs save first, wherever they run, and the table is printed."""

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from ffattn.config.lock import is_busy, release_locks
from ffattn.system import signals
from ffattn.system.processes import deaf_children

_GRACE = 30.0  # seconds in which the jobs may save, as schedulers give it
_PARTING = 5.0  # seconds in which a process may end that has nothing to save
_PAUSE = 0.2  # seconds between looks


@contextmanager
def handing_on(folders: Callable[[], list[Path]], finish: Callable[[], object]) -> Iterator[None]:
    """Let a signal reach the processes that a launcher has started, and wait until their runs have been saved.

    Otherwise they would outlive this one, or be killed by the launcher on its way out. A job in this process has a
    receiver of its own while it trains. A second Ctrl-C ends them at once. A terminal sends it to all processes; those
    of the launcher do not hear it, since Python would print a traceback for each that has not begun.

    Args:
        folders: Returns the run directories of the jobs.
        finish: Sums up, before a command is ended.
    """
    first: int | None = None
    tries = 0

    def hand_on(number: int) -> None:
        """Let the jobs save, and end them if Ctrl-C comes again."""
        nonlocal first, tries
        children = _children()
        if first is None:
            first = number
            release_locks()  # of a job in this process, for which nobody has to wait
            _let_save(children, folders())
        elif tries == 2 or not number == first == signal.SIGINT:
            return  # the first one is being obeyed
        tries += 1
        _kill(_children())
        if children and tries == 1:
            raise SystemExit(128 + number)  # their launcher waits for them here, and has to clear up
        signals.end(number, finish)

    signals.will_say("interrupted")
    with signals.receiving(hand_on), deaf_children([signal.SIGINT]):
        yield


def _children() -> list[Any]:
    """Return the processes below this one, but for those that clear up when all others have ended."""
    if importlib.util.find_spec("psutil") is None:  # it comes with the launchers that start processes
        return []
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "resource_tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


def _let_save(children: list[Any], folders: list[Path]) -> None:
    """Send SIGTERM, which means the same to all of them, and wait for those that have a run to save."""
    for process in children:
        with suppress(Exception):  # it has ended
            process.terminate()
    end = time.monotonic() + (_GRACE if children else 0)
    started = [folder for folder in folders if (folder / ".hydra").exists()]  # to look at others would make them
    while time.monotonic() < end and any(map(is_busy, started)):
        time.sleep(_PAUSE)
    end = time.monotonic() + _PARTING
    while time.monotonic() < end and any(map(_is_alive, children)):  # one may be writing a file
        time.sleep(_PAUSE)


def _is_alive(process: Any) -> bool:
    """Return whether a process runs; whoever has started it learns of its end."""
    with suppress(Exception):  # it has ended
        return bool(process.status() not in ("zombie", "dead"))
    return False


def _kill(children: list[Any]) -> None:
    for process in children:
        with suppress(Exception):  # it has ended
            process.kill()


@contextmanager
def as_worker() -> Iterator[None]:
    """Let a signal end this process, if a launcher has started it for jobs: it would go on to the next one."""
    if parent_process() is None:
        yield
        return
    signals.take_over("")
    try:
        yield
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 1)
