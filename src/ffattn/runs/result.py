"""What a person reads of a run: the header, the table at the end, and `result.json`."""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ffattn.config.errors import DamagedError
from ffattn.inference.checkpoint import BEST, checkpoints_of
from ffattn.inference.metrics import USUAL
from ffattn.system.atomic_files import atomic_write

RESULT = "result.json"
_FOCUS = {  # of attention: a title, and how the number is written
    "mass": ("on marks", "{:.2%}"),
    "lift": ("lift", "{:.3g}x"),
    "found": ("found", "{:.1%}"),
    "steps": ("steps", "{:,.1f}"),
    "margin": ("margin", "{:.3g}"),
}


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Write `result.json`, whole or not at all.

    Args:
        folder: The run directory.
        result: Plain values.
    """
    with atomic_write(folder / RESULT) as part:
        part.write_text(json.dumps(result, indent=2, allow_nan=True) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None.

    Args:
        folder: The run directory.

    Raises:
        DamagedError: The file is not what `write_result` wrote.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = json.loads(path.read_text())
    except ValueError:
        result = None
    if not isinstance(result, dict) or "settings" not in result:
        raise DamagedError(f"{path}: not a result, or a damaged one; remove it, and it is computed again")
    return result


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
