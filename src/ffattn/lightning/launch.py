"""Several processes of one run: how they are started, and how they end together.

The launcher, which is the process of the command, starts an agent. That imports everything once, forks the processes,
which have ranks, and ends all of them if one fails. None of them hears a signal. The launcher does, and tells the first
rank, which ends at once if it is not training, and else after its update, saved.
"""

import gc
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe, connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any, NamedTuple

from torch import distributed

from ffattn.errors import FFAttnError, TrainingError
from ffattn.system import signals
from ffattn.system.processes import deaf_children

_SAVING = 30  # seconds in which a run may save after a signal, as schedulers give it
_LONGEST = 8_000  # characters of a traceback, which must not fill a pipe


class _Failure(NamedTuple):
    """How the first process ended that did not succeed.

    Attributes:
        rank: Of the process.
        status: Its exit status; below zero if a signal ended it.
        message: What it raised, in words.
        trace: Where it did, if that is for a programmer.
    """

    rank: int
    status: int
    message: str = ""
    trace: str = ""


class _Plan(NamedTuple):
    """What the processes do.

    Attributes:
        work: The function.
        arguments: Its arguments, pickled.
        processes: How many processes there are.
        port: Where they meet.
    """

    work: Callable[..., object]
    arguments: bytes
    processes: int
    port: int


def launch(work: Callable[..., object], processes: int, *arguments: Any) -> None:
    """Run a function in several processes of this machine, which find each other as torchrun's do.

    If one fails, or this process is told to end, all end.

    Args:
        work: A function that a new process can import. A program that calls this needs `if __name__ == "__main__":`.
        processes: How many.
        *arguments: For the function; they are pickled.

    Raises:
        FFAttnError: A process raised one, or ended in another way.
        SystemExit: The processes were interrupted: 130 after Ctrl-C, 143 after SIGTERM, 138 after SIGUSR1.
    """
    store = distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    launcher = _Launcher(_Plan(work, pickle.dumps(arguments), processes, store.port))
    with signals.receiving(launcher.interrupt):
        failure = launcher.run()
    if launcher.number is not None:
        raise SystemExit(128 + launcher.number)
    if failure is not None:
        raise _cause(failure)


class _Launcher:
    """The agent, as the launcher sees it.

    Attributes:
        number: The signal that has come.
    """

    def __init__(self, plan: _Plan) -> None:
        self.number: int | None = None
        self.end = float("inf")  # when a run that saves is ended
        self.is_up = False  # whether the processes are there
        self.reports, reporting = Pipe(duplex=False)
        listening, self.orders = Pipe(duplex=False)
        self.theirs = reporting, listening
        self.agent = get_context("spawn").Process(target=_attend_ranks, args=(plan, reporting, listening))

    def interrupt(self, number: int) -> None:
        """Take a signal: the first rank is told; at a second Ctrl-C, or before there is one, all end at once.

        Args:
            number: The signal.
        """
        is_second = self.number == number == signal.SIGINT
        if self.number is None:
            self.number = number
            self.end = time.monotonic() + _SAVING
        if self.is_up and not is_second:
            with suppress(OSError):  # it has just ended
                self.orders.send(number)
        else:
            self._kill()

    def _kill(self) -> None:
        """End the agent, and with it the processes."""
        if self.agent.pid is not None:
            self.agent.kill()

    def run(self) -> _Failure | None:
        """Start the agent, and wait until every process has ended.

        Returns:
            What went wrong.
        """
        with deaf_children():
            self.agent.start()
        for end in self.theirs:
            end.close()
        if self.number is not None:  # which came before there was an agent to end
            self._kill()
        failure = self._listen()
        self.agent.join()
        if failure is None and self.agent.exitcode:
            return _Failure(0, 1, f"the processes ended with status {self.agent.exitcode}; resume=last goes on")
        return failure

    def _listen(self) -> _Failure | None:
        failure: _Failure | None = None
        with suppress(EOFError):  # nobody is left at the other end
            while True:
                if self.reports.poll(1):
                    failure = self.reports.recv()
                    self.is_up = True
                elif time.monotonic() > self.end:
                    self._kill()
        return failure


def _attend_ranks(plan: _Plan, reports: Connection, orders: Connection) -> None:
    """Be the agent: start the processes, and end all of them if one fails or the launcher has gone."""
    launcher = parent_process()
    assert launcher is not None
    gc.freeze()  # what has been imported is the processes' in common
    ranks = [_Rank(plan, rank, orders) for rank in range(plan.processes)]
    failure = None
    with suppress(OSError):  # the launcher has gone
        reports.send(None)
        failure = _first_failure(ranks, launcher.sentinel)
        if failure is not None:
            reports.send(failure)
    for rank in ranks:
        rank.process.kill()


def _first_failure(ranks: "list[_Rank]", launcher: int) -> _Failure | None:
    running = {rank.process.sentinel: rank for rank in ranks}
    while running:
        for ended in connection.wait([launcher, *running]):
            if ended == launcher:
                return None
            rank = running.pop(ended)  # type: ignore[arg-type]
            if (failure := rank.failure()) is not None:
                return failure
    return None


class _Rank:
    """A process with a rank, as the agent sees it."""

    def __init__(self, plan: _Plan, rank: int, orders: Connection) -> None:
        self.rank = rank
        self.report, reporting = Pipe(duplex=False)
        self.process: ForkProcess = get_context("fork").Process(target=_work, args=(plan, rank, orders, reporting))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # the threads here are idle
            self.process.start()
        reporting.close()

    def failure(self) -> _Failure | None:
        """Return what went wrong in it, if anything, now that it has ended."""
        self.process.join()
        status = self.process.exitcode
        if not status:
            return None
        with suppress(EOFError):
            if self.report.poll():
                reported: _Failure = self.report.recv()
                return reported
        return _Failure(self.rank, status)


def _work(plan: _Plan, rank: int, orders: Connection, report: Connection) -> None:
    """Be a process with a rank."""
    os.environ |= _environment(plan, rank)
    signals.take_over("")
    threading.Thread(target=_obey, args=(orders if rank == 0 else None,), daemon=True).start()
    try:
        plan.work(*pickle.loads(plan.arguments))
    except Exception as error:
        report.send(_failure_of(rank, error))
        sys.exit(1)


def _environment(plan: _Plan, rank: int) -> dict[str, str]:
    """Return what torchrun would tell the process of itself."""
    numbers = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "GROUP_RANK": 0,
        "WORLD_SIZE": plan.processes,
        "LOCAL_WORLD_SIZE": plan.processes,
        "MASTER_PORT": plan.port,
    }
    names = {
        "MASTER_ADDR": "localhost",
        "TORCHELASTIC_RUN_ID": "ffattn",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }
    return names | {name: str(number) for name, number in numbers.items()}


def _obey(orders: Connection | None) -> None:
    """Take the launcher's signals; and end if the agent does, which holds the others together."""
    agent = parent_process()
    assert agent is not None
    while True:
        ready = connection.wait([agent.sentinel, *([orders] if orders else [])])
        if agent.sentinel in ready:
            os.kill(os.getpid(), signal.SIGKILL)
        assert orders is not None
        with suppress(EOFError):  # the launcher has gone, and soon the agent
            signals.deliver(orders.recv())


def _failure_of(rank: int, error: Exception) -> _Failure:
    """Put an error in words: the user's own, the system's, which names a file, or a programmer's."""
    if isinstance(error, FFAttnError):
        return _Failure(rank, 1, str(error)[-_LONGEST:])
    if isinstance(error, OSError) and error.filename is not None:
        return _Failure(rank, 1, f"{error.filename}: {error.strerror}")
    message = f"process {rank} failed: {type(error).__name__}: {error}"
    return _Failure(rank, 1, message[:_LONGEST], traceback.format_exc()[-_LONGEST:])


def _cause(failure: _Failure) -> BaseException:
    """Return what to raise for a process that failed."""
    rank, status, message, trace = failure
    if status - 128 in signals.SIGNALS:
        return SystemExit(status)
    if trace:
        print(trace, file=sys.stderr)
    if not message and status < 0:
        message = f"process {rank} was ended by {signal.Signals(-status).name}; resume=last goes on"
    return TrainingError(message or f"process {rank} ended with status {status}; resume=last goes on")
