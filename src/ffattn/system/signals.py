"""How a signal ends a command: in one line, with the signal's own status, at any moment.

A command takes signals from the first import of this package on. What a signal then means depends on what the process
is doing. Training saves after its update, and several processes or the jobs of a sweep are told first: each of them has
a receiver. Where there is none, nothing is lost, and the process ends at once. It ends without an exception, since that
would have to find its way out of whatever is being imported, composed or compiled at the time.

Any other program, such as a notebook, keeps its own handlers, but while a run trains in it.

This module is imported before all others, and imports little.
"""

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from ffattn.system.ranks import world

SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1  # Ctrl-C; a system's; a scheduler's, some time before its end
_UNTOUCHED = "interrupted; nothing was written"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it

Receiver = Callable[[int], None]
Handler = Callable[[int, FrameType | None], None] | signal.Handlers


class _State:
    """What this process makes of a signal."""

    def __init__(self) -> None:
        self.owner: int | None = None  # the process that may be ended from here; one that it forks is another
        self.line = _UNTOUCHED  # said when it ends; empty once that has been done
        self.receivers: list[Receiver] = []  # the last one decides what a signal means
        self.writers = 0  # files that are being written
        self.waiting: int | None = None  # a signal that waits for them


_state = _State()


def is_command() -> bool:
    """Return whether this process was started as a command: `python -m ffattn.train` or `ffattn train`, `ffattn-train`.

    To be asked when `ffattn` is imported: then Python is still looking for the module to run.
    """
    first = next(iter(sys.argv), "")
    if first == "-m":
        module = sys.orig_argv[-len(sys.argv)].removeprefix("-m")
        return module.partition(".")[0] == "ffattn"
    return first in sys.orig_argv and os.path.basename(first).startswith("ffattn-")


def take_over(line: str = _UNTOUCHED) -> None:
    """Let signals end this process from here on, until it has nothing left to do.

    Args:
        line: What it says then; empty for nothing, as befits a process that another one has started.
    """
    _state.owner = os.getpid()
    _state.line = line if world().rank == 0 else ""
    handle(deliver)
    atexit.register(handle, signal.SIG_IGN)  # called last: what is left is Python's own end


def handle(handler: Handler) -> None:
    """Install a handler for all of `SIGNALS`, where this is the main thread.

    Args:
        handler: As for `signal.signal`.
    """
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, handler)


def deliver(number: int, frame: FrameType | None = None) -> None:
    """Do what a signal means now: the handler of all of them.

    Args:
        number: The signal.
        frame: Where it came, which Python tells.
    """
    if _state.writers:
        _state.waiting = number
    elif _state.receivers:
        _state.receivers[-1](number)
    else:
        end(number)


@contextmanager
def receiving(receiver: Receiver) -> Iterator[None]:
    """Let a function decide what signals mean, for a while.

    Args:
        receiver: Called with the signal's number, wherever the main thread is.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    push(receiver)
    try:
        handle(deliver)
        yield
    finally:
        pop(receiver)
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:  # else it is not Python's
                    signal.signal(number, handler)


def push(receiver: Receiver) -> None:
    """Do as `receiving` does, where something else installs the handlers; `pop` ends it.

    Args:
        receiver: As for `receiving`.
    """
    _state.receivers.append(receiver)


def pop(receiver: Receiver) -> None:
    """Take a receiver away, if it is there.

    Args:
        receiver: What was given to `push`.
    """
    with suppress(ValueError):
        _state.receivers.remove(receiver)


def end(number: int, finish: Callable[[], object] = lambda: None) -> NoReturn:
    """End the process with a signal's status: a command at once, any other program by an exception.

    Args:
        number: The signal.
        finish: What a command does before.

    Raises:
        SystemExit: This is no command.
    """
    status = 128 + number
    if _state.owner is None:
        raise SystemExit(status)
    if _state.owner == os.getpid():
        _write_line()
        with suppress(Exception):  # anything may be going on, such as printing
            finish()
            sys.stdout.flush()
    os._exit(status)


def _write_line() -> None:
    """Write past Python's own buffers, which may be in use."""
    _state.writers += 1  # another signal comes too late
    if _state.line:
        with suppress(OSError):  # nobody listens any more
            os.write(2, f"{_SHOW_CURSOR if os.isatty(2) else ''}{_state.line}\n".encode())
    _state.line = ""
    _state.writers -= 1


def say(line: str) -> None:
    """Print the line about a signal, unless that has been done, or is another process's to do.

    Args:
        line: What to print.
    """
    if _state.owner is None:
        print(line, file=sys.stderr)
    else:
        will_say(line)
        _write_line()


def will_say(line: str) -> None:
    """Choose what the process says if a signal ends it.

    Args:
        line: Of a command; a process that says nothing goes on to do so.
    """
    _state.line = line if _state.line else ""


@contextmanager
def writing() -> Iterator[None]:
    """Let signals wait while a file is written."""
    _state.writers += 1
    if _state.line == _UNTOUCHED:
        _state.line = "interrupted"
    try:
        yield
    finally:
        _state.writers -= 1
        number = _state.waiting
        if number is not None and not _state.writers:
            _state.waiting = None
            deliver(number)
