"""Runs that are killed at random moments, again and again, beside the same runs left alone: they must end alike.

python -m scripts.checks.kills --kills 100
"""

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import torch

import ffattn
from ffattn.inference.checkpoint import read
from ffattn.inference.checkpoint_files import checkpoints_of

TASKS = "add", "multiply", "xor", "temporal_order_2", "temporal_order_3"
MODELS = "ffattn", "mean", "lstm", "lstm_attention"
RUN = (
    *("T=20", "batch_size=8", "updates=120", "model.hidden=8", "accelerator=cpu", "accelerator.num_threads=1"),
    *("trainer.validate_every=10", "trainer.sequences=20", "trainer.progress=none", "trainer.stop_when_solved=false"),
    *("trainer.log_every=1", "logger=csv", "resume=last"),
)


def train(overrides: Iterable[str], folder: Path) -> None:
    """A run that goes on where it was.

    Args:
        overrides: Of the run.
        folder: Where it is written.
    """
    ffattn.fit(*RUN, *overrides, folder=folder, quiet=True)


def train_in_a_process(overrides: Iterable[str], folder: Path, patience: float | None) -> bool:
    """Fork, and train there; whether it came to an end by itself.

    Args:
        overrides: Of the run.
        folder: Where it is written.
        patience: Seconds after which the process is killed, or None.

    Raises:
        RuntimeError: It ended in another way.
    """
    if not (child := os.fork()):
        try:
            train(overrides, folder)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + (patience or 3600)
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                raise RuntimeError(f"{folder}: ended with status {status}")
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def curves(folder: Path) -> list[dict[str, str]]:
    """What was logged, a row for each time, without how fast it was.

    Args:
        folder: The run directory.
    """
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if value and "updates_per_second" not in name} for row in rows]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def differences(a: Path, b: Path) -> list[str]:
    """In what two runs differ to the last bit: weights, optimiser, scores, curves.

    Args:
        a: A run directory.
        b: Another.
    """
    found = []
    for name, key in product(("last", "best"), ("state_dict", "optimizer_states", "global_step")):
        pair = [read(checkpoints_of(folder) / f"{name}.ckpt")[key] for folder in (a, b)]
        found += [] if _same(*pair) else [f"{name}.ckpt: {key}"]
    results = [json.loads((folder / "result.json").read_text()) for folder in (a, b)]
    found += [key for key in ("updates", "val", "test", "validations") if results[0][key] != results[1][key]]
    return found + ([] if curves(a) == curves(b) else ["metrics.csv"])


def kill_and_compare(overrides: list[str], kills: int, numbers: random.Random, folder: Path) -> list[str]:
    """Kill a run so many times, let it end, and compare it with one that was left alone.

    Args:
        overrides: Of the run.
        kills: How often.
        numbers: The moments.
        folder: Where both are written.

    Returns:
        What is different.
    """
    straight = folder / "straight"
    killed = folder / "killed"
    started = time.monotonic()
    train_in_a_process(overrides, straight, None)
    whole = time.monotonic() - started
    while kills:
        if train_in_a_process(overrides, killed, numbers.uniform(0, 0.7 * whole)):
            (killed / "result.json").unlink()  # it is made again, from what was saved: a moment like others
        else:
            kills -= 1
    train_in_a_process(overrides, killed, None)
    return differences(straight, killed)


def main() -> None:
    """Print a Markdown table; exits with status 1 if a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    pairs = list(product(TASKS, MODELS))
    numbers = random.Random(arguments.seed)
    bad = 0
    torch.set_num_threads(1)  # before the first fork: threads do not survive one
    print("| task | model | kills | different |\n|---|---|---:|---|")
    for number, (task, model) in enumerate(pairs):
        kills = arguments.kills * (number + 1) // len(pairs) - arguments.kills * number // len(pairs)
        with tempfile.TemporaryDirectory() as folder:
            found = kill_and_compare([f"task={task}", f"model={model}"], kills, numbers, Path(folder))
        print(f"| {task} | {model} | {kills} | {', '.join(found) or 'nothing'} |", flush=True)
        bad += bool(found)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
