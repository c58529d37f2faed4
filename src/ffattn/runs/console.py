"""What a run prints: the header before it, and the table and the facts at its end."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ffattn.inference.checkpoint import BEST, checkpoints_of
from ffattn.inference.metrics import USUAL

_FOCUS = {  # of attention: a title, and how the number is written
    "mass": ("on marks", "{:.2%}"),
    "lift": ("lift", "{:.3g}x"),
    "found": ("found", "{:.1%}"),
    "steps": ("steps", "{:,.1f}"),
    "margin": ("margin", "{:.3g}"),
}


def print_header(console: Console, **lines: object) -> None:
    """Print a few facts, one a line, before the work starts."""
    for name, value in lines.items():
        console.print(f"{name.replace('_', ' '):>12}  {value}", highlight=False, markup=False, soft_wrap=True)


def scores_table(scores: dict[str, dict[str, Any]]) -> Table:
    """Solved share and error of each evaluation set against the task's floor.

    Args:
        scores: For each set, `solved`, `error` and `floor` (the same two for the best constant answer); and what
            attention is doing, if it was measured (see `metrics.focus`).
    """
    measured = {name: form for name, form in _FOCUS.items() if any(name in values for values in scores.values())}
    usual = [name for name in USUAL if any(name in values for values in scores.values())]
    titles = [*(name.upper() for name in usual), *(title for title, _ in measured.values())]
    table = Table("", "solved", "error", *titles, title_justify="left")
    for name, values in scores.items():
        focus = (form.format(values[key]) if key in values else "" for key, (_, form) in measured.items())
        known = (f"{values[key]:.4g}" for key in usual)
        table.add_row(name, f"{values['solved']:.1%}", f"{values['error']:.3g}", *known, *focus)
    floor = next(iter(scores.values()))["floor"]
    table.add_row("floor", f"{floor['solved']:.1%}", f"{floor['error']:.3g}", style="dim")
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
    table = scores_table({"validation": result["val"], "test": result["test"]})
    console.print(table)
    best = result["val"]["update"]
    reason = {"solved": "every validation sequence solved", "updates": "the most updates were made"}
    reason["patience"] = "no validation has been better for a while"
    reason["raced"] = "another learning rate has solved it in as few updates"
    folder = folder.resolve()
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    board = f"{_tensorboard()} --logdir {shlex.quote(str(folder))}"
    curves = {"tensorboard": board, "csv": folder / "metrics.csv", "many": board, "none": "not logged"}
    curves |= {"mlflow": "in MLflow's store, outputs/mlflow.db or MLFLOW_TRACKING_URI", "wandb": folder / "wandb"}
    epochs = f"{result['epochs']:g} epoch{'' if result['epochs'] == 1 else 's'}"
    print_header(
        console,
        stopped=f"{reason[result['stopped_because']]}, after {epochs} = {result['updates']} updates",
        scores_of=f"the weights after {best} updates",
        time=f"{result['seconds']:.1f} s, {result['updates_per_second']:.4g} updates/s",
        peak_memory=f"{result['peak_memory_mb']:.0f} MB",
        curves=curves[result["settings"]["logger"]["kind"]],
        checkpoint=checkpoints_of(folder) / BEST,
    )
