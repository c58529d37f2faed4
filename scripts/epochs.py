"""How many epochs training takes under some settings, over several seeds: the tables in docs/training.md.

python -m scripts.epochs --task multiply --T 1000 trainer.gradient_clip=null "optim.lr=0.01 model.init=he"

Every argument is a row: overrides, separated by spaces.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from multiprocessing import get_context

import ffattn
from ffattn.system.provenance import commit, versions

EPOCH, MOST_EPOCHS = 1000, 10


def epochs(task: str, T: int, overrides: str, parent: str, seed: int) -> float:
    """Epochs until every validation sequence is solved; infinite if the run ends before."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        run = ffattn.fit(
            *overrides.split(),
            "trainer.progress=none",
            "accelerator=cpu",
            "accelerator.num_threads=1",
            task=task,
            T=T,
            seed=seed,
            updates=EPOCH * MOST_EPOCHS,
            logger="none",
            folder=f"{folder}/run",
            quiet=True,
        )
    return run.result["epochs"] if run.result["stopped_because"] == "solved" else float("inf")


def _obey() -> None:
    """Let a worker end at once when the pool ends it, and when only then: Ctrl-C reaches the parent as well."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def rows(arguments: argparse.Namespace) -> Iterator[str]:
    """A Markdown table, row by row."""
    yield f"`{arguments.task}`, T = {arguments.T}; torch {versions()['torch']}, commit {commit()}:\n"
    yield "| settings | epochs of each seed | median | solved |\n|---|---|---|---|"
    with tempfile.TemporaryDirectory() as parent, get_context("spawn").Pool(arguments.jobs, _obey) as pool:
        for overrides in arguments.settings:
            one = partial(epochs, arguments.task, arguments.T, overrides, parent)
            counts = pool.map(one, range(arguments.seeds), chunksize=1)
            cells = " ".join(f"{count:g}".replace("inf", f">{MOST_EPOCHS}") for count in counts)
            median = f"{statistics.median_low(counts):g}".replace("inf", f">{MOST_EPOCHS}")
            solved = sum(count < float("inf") for count in counts)
            yield f"| {overrides or 'the defaults'} | {cells} | {median} | {solved} of {len(counts)} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="+", help="a row: overrides, separated by spaces")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..n-1")
    parser.add_argument("--task", default="add")
    parser.add_argument("--T", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, each on one thread")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):  # by way of the pool, which ends its workers
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    for row in rows(arguments):
        print(row, flush=True)


if __name__ == "__main__":
    main()
