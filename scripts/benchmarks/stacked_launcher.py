"""What `hydra/launcher=stacked` gains: the same sweep by several launchers, each a command of its own.

python -m scripts.benchmarks.stacked_launcher --save docs/benchmarks/stacked.md
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ffattn.system.provenance import commit, versions

RATES = "0.001,0.003,0.01"
SEEDS = "0,1,2,3"
JOBS = 12
UPDATES = {50: 2000, 1000: 300}
COMMON = ["logger=none", "accelerator=cpu", "trainer.progress=none", "trainer.stop_when_solved=false"]
STACKED = "hydra/launcher=stacked"
LAUNCHERS = {
    "basic, one thread": [["accelerator.num_threads=1"]],
    "basic, all threads": [[]],
    "joblib, 2 processes": [["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]],
    "stacked, one thread": [[STACKED, "accelerator.num_threads=1"]],
    "stacked, all threads": [[STACKED]],
    "stacked, two commands": [[STACKED, "hydra.launcher.members=6", "accelerator.num_threads=1"]] * 2,
}


def seconds_of(T: int, commands: list[list[str]]) -> float:
    """The time that commands take side by side, from their start to the last one's end.

    Args:
        T: Sequence length.
        commands: What is special to each.
    """
    with tempfile.TemporaryDirectory() as folder:
        sweep = [f"hydra.sweep.dir={folder}/sweep", f"T={T}", f"updates={UPDATES[T]}", f"optim.lr={RATES}"]
        shared = ["-m", *sweep, f"seed={SEEDS}", f"trainer.validate_every={UPDATES[T]}", *COMMON]
        start = time.monotonic()
        line = [sys.executable, "-m", "ffattn.train"]
        running = [
            subprocess.Popen([*line, *shared, *own], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for own in commands
        ]
        statuses = [process.wait() for process in running]
        elapsed = time.monotonic() - start
        finished = len(list(Path(folder).rglob("result.json")))
    if any(statuses) or finished != JOBS:
        raise SystemExit(f"{commands[0]}: exit status {statuses}, {finished} of {JOBS} jobs finished")
    return elapsed


def table(T: int) -> list[str]:
    """A row for each launcher.

    Args:
        T: Sequence length.
    """
    lines = [f"| T={T}, {UPDATES[T]} updates | seconds | updates/s, all jobs | against basic |", "|---|---|---|---|"]
    first = None
    for name, commands in LAUNCHERS.items():
        seconds = seconds_of(T, commands)
        first = first or seconds
        lines.append(f"| {name} | {seconds:.1f} | {JOBS * UPDATES[T] / seconds:.0f} | {first / seconds:.2f} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", type=Path, help="write the tables here too, as Markdown")
    arguments = parser.parse_args()
    head = [f"{platform.machine()}, {os.cpu_count()} cores. {JOBS} jobs: optim.lr={RATES} seed={SEEDS}."]
    head.append("Seconds are of whole commands, with their imports and checks.")
    made = f"Made by `python -m scripts.benchmarks.stacked_launcher` at commit {commit()}: torch {versions()['torch']}."
    lines = ["# What a stack gains", "", made, "", *head]
    for T in UPDATES:
        lines += ["", *table(T)]
    if arguments.save:
        arguments.save.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
