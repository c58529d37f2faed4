"""Train on a generated Parquet file that is not held in memory, answer for it, and say what memory that takes.

    python -m scripts.benchmarks.larger_than_memory                 # 2 GB
    python -m scripts.benchmarks.larger_than_memory --gigabytes 0.2 --window 2

The file has a row for each step of sequences of 50 to 149 steps: an id, a target and 8 features, in row groups of about
32 MB. Answers are given for its sequences from Parquet and from CSV. Memory is the peak of a process beyond what it has
after its imports (Linux).
"""

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

import ffattn
import ffattn.runs.training  # what training imports
from ffattn import predict
from ffattn.config.compose import compose_config
from ffattn.system.provenance import commit
from scripts.benchmarks.meters import reset_peak, status_kb

FEATURES = 8
GROUP_BYTES = 32e6
_ROW_BYTES = 8 * (FEATURES + 2)


def groups(gigabytes: float) -> Iterator[Any]:
    """Tables of about one row group each."""
    random = np.random.default_rng(0)
    number = 0
    for _ in range(max(2, round(gigabytes * 1e9 / GROUP_BYTES))):
        lengths = random.integers(50, 150, int(GROUP_BYTES / _ROW_BYTES / 100))
        x = random.standard_normal((FEATURES, lengths.sum()))
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        target = np.add.reduceat(x[0] + 0.5 * x[1], starts) / lengths
        ids = np.arange(number, number + len(lengths))
        number = number + len(lengths)
        features = {f"sensor_{i}": column for i, column in enumerate(x)}
        yield pa.table({"id": np.repeat(ids, lengths), "target": np.repeat(target, lengths), **features})


def write(path: Path, gigabytes: float) -> None:
    """Write the file, row group by row group."""
    writer = None
    for table in groups(gigabytes):
        writer = writer or parquet.ParquetWriter(path, table.schema, compression="none", use_dictionary=False)
        writer.write_table(table, row_group_size=len(table))
    assert writer is not None
    writer.close()


def rewrite(path: Path, output: Path) -> None:
    """Write the file again as CSV."""
    file = parquet.ParquetFile(path)
    with csv.CSVWriter(output, file.schema_arrow) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)


def peak_of(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Megabytes beyond those that there are before, seconds, and what came of it."""
    reset_peak()
    before = status_kb("VmRSS")
    start = time.perf_counter()
    found = work()
    return (status_kb("VmHWM") - before) / 1024, time.perf_counter() - start, found


def answer(checkpoint: Path, path: Path) -> None:
    """Print a line for the answers to a file."""
    words = [f"checkpoint={checkpoint}", f"input={path}", f"output={path}.answers.csv", "id=id"]
    peak, seconds, _ = peak_of(lambda: predict.run(compose_config("predict", words)))
    print(f"answers for {path.suffix}, {path.stat().st_size / 1e9:.2f} GB: {peak:.0f} MB, {seconds:.0f} s", flush=True)


def train(path: Path, window: int, updates: int) -> Any:
    """The run on the file."""
    return ffattn.fit(
        "task=file",
        f"task.path={path}",
        "task.target=target",
        "task.id=id",
        f"task.window={window}",
        f"trainer.validate_every={updates}",
        "trainer.progress=none",
        updates=updates,
        logger="none",
        folder=path.parent / "run",
        quiet=True,
    )


def alone(work: Callable[..., Any], *arguments: Any) -> None:
    """In a process of its own, whose memory is not counted elsewhere."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        sys.exit(process.exitcode)


def main() -> None:
    """Print a line for the file, and one for the run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--window", type=int, default=4, help="row groups in memory at a time")
    parser.add_argument("--updates", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "generated.parquet")
        alone(write, path, arguments.gigabytes)
        file = parquet.ParquetFile(path)
        print(
            f"{path.stat().st_size / 1e9:.2f} GB, {file.metadata.num_rows:,} rows in {file.num_row_groups} row groups; "
            f"commit {commit()}"
        )
        del file
        peak, seconds, run = peak_of(lambda: train(path, arguments.window, arguments.updates))
        print(
            f"window={arguments.window}: {peak:.0f} MB beyond the libraries; {arguments.updates} updates, a validation "
            f"and two tests in {seconds:.0f} s; test error {run.result['test']['error']:.3g}",
            flush=True,
        )
        alone(answer, run.checkpoint, path)
        alone(rewrite, path, path.with_suffix(".csv"))
        alone(answer, run.checkpoint, path.with_suffix(".csv"))


if __name__ == "__main__":
    main()
