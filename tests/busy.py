"""Run a command beside busy processes: `python tests/busy.py 4 command ...`. They end with it, however it ends."""

import multiprocessing
import os
import subprocess
import sys


def be_busy(parent):
    while os.getppid() == parent:
        pass


def main():
    for _ in range(int(sys.argv[1])):
        multiprocessing.get_context("fork").Process(target=be_busy, args=(os.getpid(),), daemon=True).start()
    try:
        sys.exit(subprocess.run(sys.argv[2:], check=False).returncode)
    except KeyboardInterrupt:  # which the command hears, too
        sys.exit(130)


if __name__ == "__main__":
    main()
