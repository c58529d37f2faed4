"""How many epochs training takes under some settings, over several seeds: the tables in docs/training.md.

python -m scripts.epochs --task multiply --T 1000 trainer.gradient_clip=null "optim.lr=0.01 model.init=he"

Every argument is a row: overrides, separated by spaces.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import ffattn
from ffattn.provenance import commit, versions

EPOCH, MOST_EPOCHS = 1000, 10


def epochs(task: str, T: int, overrides: str, seed: int) -> float:
    """Epochs until every validation sequence is solved; infinite if the run ends before."""
    with tempfile.TemporaryDirectory() as folder:
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


def rows(arguments: argparse.Namespace) -> Iterator[str]:
    """A Markdown table, row by row."""
    yield f"`{arguments.task}`, T = {arguments.T}; torch {versions()['torch']}, commit {commit()}:\n"
    yield "| settings | epochs of each seed | median | solved |\n|---|---|---|---|"
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for overrides in arguments.settings:
            one = partial(epochs, arguments.task, arguments.T, overrides)
            counts = list(pool.map(one, range(arguments.seeds)))
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
    for row in rows(parser.parse_args()):
        print(row, flush=True)


if __name__ == "__main__":
    main()
