"""What a sweep of short jobs costs beyond the jobs themselves; the table in docs/scale.md.

python -m scripts.benchmarks.sweep_overhead --jobs 100 --updates 100

A job lasts from its lock to its result: checks, training, validation, test and checkpoints, and in the first of each
worker the imports. Beyond it are Hydra's and joblib's work around a job, and the time that a worker waits.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ffattn.system.provenance import commit

WORKERS = 2


def spans(folder: Path) -> list[tuple[float, float]]:
    """When each job of a sweep began and ended, in seconds since the epoch.

    Args:
        folder: The sweep's directory.

    Returns:
        Pairs, in no order.
    """
    results = list(folder.rglob("result.json"))
    return [((path.parent / ".hydra/lock").stat().st_mtime, path.stat().st_mtime) for path in results]


def sweep(jobs: int, updates: int, folder: Path) -> float:
    """Seconds of the whole command, with two workers of one thread each.

    Args:
        jobs: Seeds.
        updates: Of each job.
        folder: Where the jobs are written.
    """
    command = f"{sys.executable} -m ffattn.train -m hydra/launcher=joblib hydra.launcher.n_jobs={WORKERS} T=50"
    options = f"seed=range({jobs}) updates={updates} trainer.progress=none hydra.sweep.dir={folder}"
    start = time.perf_counter()
    subprocess.run([*command.split(), *options.split()], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the sweep and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100)
    parser.add_argument("--updates", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        whole = sweep(given.jobs, given.updates, Path(folder))
        taken = spans(Path(folder))
    first = min(begin for begin, _ in taken)
    last = max(end for _, end in taken)
    own = sum(end - begin for begin, end in taken) / WORKERS
    command = f"python -m scripts.benchmarks.sweep_overhead --jobs {given.jobs} --updates {given.updates}"
    print(f"`{command}` at commit {commit()}:\n")
    print("| jobs | whole command, s | from the first job's start, s | the jobs themselves, s | beyond them |")
    print("|---:|---:|---:|---:|---:|")
    print(f"| {len(taken)} | {whole:.1f} | {last - first:.1f} | {own:.1f} | {(last - first) / own - 1:.0%} |")


if __name__ == "__main__":
    main()
