"""What a run prints: the header before it, and the table and the facts at its end."""

import shlex
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ffattn.inference.checkpoint import BEST, checkpoints_of
from ffattn.inference.metrics import STANDARD_METRICS, percent

_ATTENTION_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {  # a title, and how the number is written
    "attention_mass": ("attention mass", partial(percent, decimals=2)),
    "lift": ("lift", "{:.3g}x".format),
    "found": ("found", percent),
    "effective_steps": ("effective steps", "{:,.1f}".format),
    "margin": ("margin", "{:.3g}".format),
}
_STOPPED = {
    "solved": "every validation sequence solved",
    "updates": "the most updates were made",
    "patience": "no validation has been better for a while",
    "raced": "another learning rate has solved it in as few updates",
}


def print_header(console: Console, **lines: object) -> None:
    """Print a few facts, one a line, before the work starts."""
    for name, value in lines.items():
        console.print(f"{name.replace('_', ' '):>12}  {value}", highlight=False, markup=False, soft_wrap=True)


def metrics_table(sets: dict[str, dict[str, Any]]) -> Table:
    """Make the table of accuracy and error of each evaluation set, with the constant baseline.

    Args:
        sets: For each set `accuracy`, `error` and `baseline` (the same two for the best constant answer); and standard
            and attention metrics, where measured (see `inference.metrics`).
    """
    attention = [name for name in _ATTENTION_COLUMNS if any(name in values for values in sets.values())]
    standard = [name for name in STANDARD_METRICS if any(name in values for values in sets.values())]
    titles = [*(name.upper() for name in standard), *(_ATTENTION_COLUMNS[name][0] for name in attention)]
    table = Table("", "accuracy", "error", *titles, box=SIMPLE_HEAD, padding=0, collapse_padding=True)
    for name, values in sets.items():
        more = [f"{values[key]:.4g}" for key in standard]
        more += [_ATTENTION_COLUMNS[key][1](values[key]) if key in values else "" for key in attention]
        table.add_row(name, percent(values["accuracy"]), f"{values['error']:.3g}", *more)
    baseline = next(iter(sets.values()))["baseline"]
    table.add_row("baseline", percent(baseline["accuracy"]), f"{baseline['error']:.3g}", style="dim")
    return table


def _tensorboard() -> str:
    """The command, with its place where the environment that runs this is not the shell's."""
    return "tensorboard" if shutil.which("tensorboard") else str(Path(sys.executable).with_name("tensorboard"))


def print_result(console: Console, result: dict[str, Any], folder: Path) -> None:
    """Print the table at the end of a training run.

    Args:
        console: Where to.
        result: What `result.json` holds.
        folder: The run directory.
    """
    console.print(metrics_table({"validation": result["val"], "test": result["test"]}))
    best = result["val"]["update"]
    folder = folder.resolve()
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    board = f"{_tensorboard()} --logdir {shlex.quote(str(folder))}"
    curves = {"tensorboard": board, "csv": folder / "metrics.csv", "many": board, "none": "not logged"}
    curves |= {"mlflow": "in MLflow's store, outputs/mlflow.db or MLFLOW_TRACKING_URI", "wandb": folder / "wandb"}
    print_header(
        console,
        stopped=f"{_STOPPED[result['stopped_because']]}, after {_updates(result['updates'])}",
        metrics_of=f"the weights after {_updates(best)}",
        time=f"{result['seconds']:.1f} s, {result['updates_per_second']:.4g} updates/s",
        peak_memory=f"{result['peak_memory_mb']:.0f} MB",
        curves=curves[result["settings"]["logger"]["kind"]],
        checkpoint=checkpoints_of(folder) / BEST,
    )


def _updates(count: int) -> str:
    return f"{count:,} update{'' if count == 1 else 's'}"
