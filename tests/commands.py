"""Commands in processes of their own, which get signals, and must leave no process behind."""

import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from typing import NamedTuple

import psutil

from tests.waiting import LIMIT, wait_for

_TOKEN = "FFATTN_TEST_TOKEN"


class Ended(NamedTuple):
    """How a command ended: its status, what it printed, and the lines of that which are no progress."""

    status: int
    out: str
    err: str

    @property
    def lines(self):
        progress = "update ", "ffattn: compiling", "["
        return [line for line in self.err.splitlines() if not line.startswith(progress)]


class Started:
    """A command in a session of its own, as a terminal or a scheduler starts it, and the processes that it starts."""

    def __init__(self, *arguments, cwd, **environment):
        self.token = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=cwd,
            env=os.environ | {"OMP_NUM_THREADS": "1", _TOKEN: self.token} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def send(self, number):
        """Send a signal as it comes: Ctrl-C to all processes, any other one to the command."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def is_running(self):
        return self.process.poll() is None

    def ended(self):
        """Wait until it has ended, and all that it has started."""
        out, err = self.process.communicate(timeout=LIMIT)
        wait_for(lambda: not self.processes(), "all processes of the command end")
        return Ended(self.process.returncode, out, err)

    def processes(self):
        """Its processes that are there."""
        return [process for process in psutil.process_iter() if _token_of(process) == self.token]

    def kill(self):
        for process in self.processes():
            with suppress(psutil.Error):
                process.kill()
        with suppress(ValueError):  # of pipes that have been read
            self.process.communicate(timeout=LIMIT)


def _token_of(process):
    try:
        return None if process.status() == psutil.STATUS_ZOMBIE else process.environ().get(_TOKEN)
    except (psutil.Error, OSError):
        return None
