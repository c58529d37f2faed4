"""The accuracy in each precision after the same updates: the table in docs/precision.md.

python -m scripts.benchmarks.precision --T 1000 --updates 2000
"""

import argparse
import tempfile
from collections.abc import Iterator

import ffattn
from ffattn.config.schema import PRECISIONS
from ffattn.errors import SettingError
from ffattn.inference.metric_names import percent
from ffattn.system.provenance import commit, versions


def row(precision: str, arguments: argparse.Namespace) -> str:
    """A row of the table, or why this machine has none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = ffattn.fit(
                f"trainer.validate_every={arguments.validate_every}",
                "trainer.progress=none",
                "trainer.stop_when_solved=false",
                "model.bias_init=uniform",
                f"accelerator={arguments.accelerator}",
                precision=precision,
                task=arguments.task,
                T=arguments.T,
                seed=arguments.seed,
                updates=arguments.updates,
                logger="none",
                folder=f"{folder}/run",
                quiet=True,
            )
        except SettingError as error:
            return f"| {precision} | | | | | {error.problem} |"
    val = run.result["val"]
    test = run.result["test"]
    result = run.result
    speed = f"{result['updates_per_second']:.1f}"
    return (
        f"| {precision} | {percent(val['accuracy'])} | {percent(test['accuracy'])} | {test['error']:.2e} | {speed} | |"
    )


def rows(arguments: argparse.Namespace) -> Iterator[str]:
    """A Markdown table, row by row."""
    yield f"`{arguments.task}`, T = {arguments.T}, {arguments.updates} updates, seed {arguments.seed}; "
    yield f"torch {versions()['torch']}, commit {commit()}:\n"
    yield "| precision | best validation | test | test error | updates/s | |\n|---|---:|---:|---:|---:|---|"
    for precision in arguments.precisions.split():
        yield row(precision, arguments)


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="add")
    parser.add_argument("--T", type=int, default=1000)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--validate-every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--precisions", default=" ".join(PRECISIONS), help="separated by spaces")
    for line in rows(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
