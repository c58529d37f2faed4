"""Send a signal to a command when one of its processes gets to a stage: imported by each of them as Python starts.

The environment has `SIGNAL_AT`: which process (command, agent, rank or worker), what it does (import, write, fork or
exit) and with what; `SIGNAL`; and `SIGNAL_FOLDER`, for what the processes tell each other.
"""

import atexit
import os
import signal
import sys
from pathlib import Path

FOLDER = Path(os.environ["SIGNAL_FOLDER"])
NUMBER = int(os.environ["SIGNAL"])
ROLE, ACTION, *NAME = os.environ["SIGNAL_AT"].split()
SELF = os.getpid()
EVENTS = {"import": "import", "write": "open", "fork": "os.fork"}


def role():
    words = " ".join(sys.orig_argv)
    if "ffattn.train" in words:
        return "command"
    if "spawn_main" in words:  # the agent's, which forks the ranks
        return "agent" if os.getpid() == SELF else "rank"
    return "worker" if "popen_loky" in words else "other"


def send():
    try:
        os.close(os.open(FOLDER / "sent", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    command = int((FOLDER / "command").read_text())
    if signal.SIGINT == NUMBER:  # a terminal sends it to all
        os.killpg(command, NUMBER)
    else:
        os.kill(command, NUMBER)


def watch(event, arguments):
    if event != EVENTS.get(ACTION) or role() != ROLE:
        return
    if ACTION == "import" and arguments[0] != NAME[0]:
        return
    if ACTION == "write" and not (str(arguments[0]).endswith(NAME[0]) and str(arguments[1])[0] in "wax"):
        return
    send()


if role() == "command":
    (FOLDER / "command").write_text(str(SELF))
    if ACTION == "exit":
        atexit.register(send)
sys.addaudithook(watch)
