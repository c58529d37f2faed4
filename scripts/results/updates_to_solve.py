"""How many updates training takes under some settings, over several seeds: the tables in docs/training.md.

python -m scripts.results.updates_to_solve --task multiply --T 1000 model.init=he "optim.lr=0.01 model.init=he"

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

MOST_UPDATES = 10_000


def updates_to_solve(task: str, T: int, overrides: str, parent: str, seed: int) -> int | None:
    """Return after how many updates a validation has accuracy 1; None if the run ends before."""
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        run = ffattn.fit(
            *overrides.split(),
            "trainer.progress=none",
            "accelerator=cpu",
            "accelerator.num_threads=1",
            task=task,
            T=T,
            seed=seed,
            updates=MOST_UPDATES,
            logger="none",
            folder=f"{folder}/run",
            quiet=True,
        )
    updates: int | None = run.result["updates_to_solve"]
    return updates


def _obey() -> None:
    """Let a worker end at once when the pool ends it, and when only then: Ctrl-C reaches the parent as well."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def rows(arguments: argparse.Namespace) -> Iterator[str]:
    """A Markdown table, row by row."""
    yield f"`{arguments.task}`, T = {arguments.T}; torch {versions()['torch']}, commit {commit()}:\n"
    yield "| settings | updates of each seed | median | solved |\n|---|---|---|---|"
    with tempfile.TemporaryDirectory() as parent, get_context("spawn").Pool(arguments.jobs, _obey) as pool:
        for overrides in arguments.settings:
            one = partial(updates_to_solve, arguments.task, arguments.T, overrides, parent)
            counts = pool.map(one, range(arguments.seeds), chunksize=1)
            cells = " ".join(map(_in_words, counts))
            median = statistics.median_low([MOST_UPDATES + 1 if count is None else count for count in counts])
            solved = sum(count is not None for count in counts)
            yield f"| {overrides or 'the defaults'} | {cells} | {_in_words(median)} | {solved} of {len(counts)} |"


def _in_words(updates: int | None) -> str:
    return f">{MOST_UPDATES:,}" if updates is None or updates > MOST_UPDATES else f"{updates:,}"


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
