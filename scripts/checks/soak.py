"""Whether a long run stays as it began: memory, open files and speed, with logging, validation and checkpoints on.

python -m scripts.checks.soak --updates 1000000
python -m scripts.checks.soak --runs 200
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil

import ffattn
from ffattn.inference.checkpoint import read
from ffattn.inference.checkpoint_files import KEY, LAST, checkpoints_of
from ffattn.system.provenance import commit, versions

PARTS = 10  # rows of the table; the first one is the warm-up


class Sample(NamedTuple):
    """A look at a running process.

    Attributes:
        seconds: Since it started.
        update: After so many updates.
        memory: Resident memory in MB (10^6 bytes).
        files: Open files.
    """

    seconds: float
    update: int
    memory: float
    files: int


def watch(command: list[str], last: Path, pause: float) -> Iterator[Sample]:
    """Run a command, and look at it whenever it has written a checkpoint.

    Args:
        command: A training run.
        last: The checkpoint that it writes again and again.
        pause: Seconds between looks.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    started = time.monotonic()
    update = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        process = psutil.Process(run.pid)
        while run.poll() is None:
            time.sleep(pause)
            if not last.exists() or (now := read(last)[KEY]["update"]) == update:
                continue
            update = now
            try:
                memory = process.memory_info().rss / 1e6
                files = process.num_fds()
            except psutil.Error:  # it has just ended
                break
            if not memory:  # so has it, but for its status
                break
            yield Sample(time.monotonic() - started, update, memory, files)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)


def rows(samples: list[Sample], updates: int) -> Iterator[str]:
    """A Markdown table: the run in parts of as many updates, and what grew after the first."""
    yield "| updates | memory, MB | open files | updates/s |\n|---:|---:|---:|---:|"
    ends = [max((s for s in samples if s.update <= updates * part / PARTS), default=None) for part in range(PARTS + 1)]
    known = [end for end in ends if end is not None]
    for before, end in pairwise(known):
        speed = (end.update - before.update) / (end.seconds - before.seconds)
        yield f"| {end.update:,} | {end.memory:.1f} | {end.files} | {speed:.0f} |"
    growth = known[-1].memory / known[0].memory - 1
    yield f"\nMemory after the first tenth: {growth:+.2%}."


def many_runs(count: int, folder: Path) -> Iterator[str]:
    """A Markdown table: run after run in this process, looked at ten times.

    Args:
        count: How many.
        folder: Where they are written.
    """
    yield "| runs | memory, MB | open files |\n|---:|---:|---:|"
    process = psutil.Process()
    known = []
    small = ("T=50", "updates=20", "trainer.validate_every=10", "trainer.sequences=100", "accelerator=cpu")
    for number in range(1, count + 1):
        ffattn.fit(*small, "accelerator.num_threads=1", seed=number, folder=folder / str(number), quiet=True)
        if number % max(1, count // PARTS) == 0:
            known.append(process.memory_info().rss / 1e6)
            yield f"| {number} | {known[-1]:.1f} | {process.num_fds()} |"
    yield f"\nMemory after the first tenth: {known[-1] / known[0] - 1:+.2%}."


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=1_000_000)
    parser.add_argument("--pause", type=float, default=5.0, help="seconds between looks")
    parser.add_argument("--runs", type=int, help="so many short runs in one process, instead of a long one")
    parser.add_argument("overrides", nargs="*", help="of the run, such as model=lstm")
    arguments = parser.parse_args()
    if arguments.runs:
        print(f"torch {versions()['torch']}, commit {commit()}\n")
        with tempfile.TemporaryDirectory() as folder:
            for line in many_runs(arguments.runs, Path(folder)):
                print(line, flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"updates={arguments.updates}", "T=50", "trainer.stop_when_solved=false", "trainer.progress=none"]
        settings += ["accelerator=cpu", "accelerator.num_threads=1", f"hydra.run.dir={folder}/run"]
        command = [sys.executable, "-m", "ffattn.train", *settings, *arguments.overrides]
        samples = list(watch(command, checkpoints_of(Path(folder) / "run") / LAST, arguments.pause))
    print(f"torch {versions()['torch']}, commit {commit()}; {' '.join(settings[:-1] + arguments.overrides)}\n")
    print("\n".join(rows(samples, arguments.updates)))


if __name__ == "__main__":
    main()
