"""How processes are started that a signal must not disturb."""

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from ffattn.system.signals import SIGNALS


@contextmanager
def deaf_children(numbers: Iterable[int] = SIGNALS) -> Iterator[None]:
    """Let processes that are started meanwhile, and theirs, have signals blocked from their first instruction on.

    A terminal and a scheduler send signals to all processes of a command, and Python answers Ctrl-C by a traceback
    until it has been told otherwise. Whoever starts the processes tells them to end. Here, only the thread that calls
    this has the signals blocked, and another one takes them for it.

    Args:
        numbers: The signals.
    """
    numbers = tuple(numbers)
    is_over = threading.Event()
    threading.Thread(target=is_over.wait, name="ffattn-signals", daemon=True).start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        resource_tracker.ensure_running()  # now: starting it would end the blocking, in Python 3.11 and 3.12
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        is_over.set()
