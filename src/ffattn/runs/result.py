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
from ffattn.system.atomic_files import whole

RESULT = "result.json"
FORMAT = 2  # of `result.json`; format 1 had no number
_SPLITS = "train", "val", "test"
_RENAMED = {  # from format 1 to 2
    "solved": "accuracy",
    "floor": "baseline",
    "mass": "attention_mass",
    "steps": "effective_steps",
}
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
    with whole(folder / RESULT) as part:
        part.write_text(json.dumps(result, indent=2, allow_nan=True) + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return the result of a finished run in the present format, or None if there is none.

    Args:
        folder: The run directory.

    Raises:
        DamagedError: The file is not what `write_result` wrote.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        return parse_result(path.read_bytes(), str(path))
    except DamagedError as error:
        raise DamagedError(f"{error}; remove it, and it is computed again") from None


def parse_result(text: str | bytes, source: str) -> dict[str, Any]:
    """Return a result from its JSON, in the present format.

    Args:
        text: The JSON.
        source: What to call it in an error.

    Raises:
        DamagedError: It is not a result, or of a later format.
    """
    try:
        result = upgrade_result(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        result = {}
    if "settings" not in result:
        raise DamagedError(f"{source}: not a result, or a damaged one")
    if result["format"] != FORMAT:
        raise DamagedError(f"{source}: a result of format {result['format']}; this version reads formats 1 to {FORMAT}")
    return result


def upgrade_result(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result of format 1 in the present format, and any other as it is.

    Args:
        result: What `result.json` holds: of a training run, an evaluation or an inspection. It is not changed.
    """
    if result.get("format", 1) != 1:
        return result
    upgraded: dict[str, Any] = {"format": FORMAT}
    for name, value in result.items():
        if name in _SPLITS or name == "validations":
            upgraded[name] = _renamed(value)
        elif name not in ("format", "epochs"):
            upgraded[name] = value
    if "stopped_because" in result:
        upgraded["solved"] = upgraded["val"]["accuracy"] == 1
        upgraded["updates_to_solve"] = _first_solved(upgraded)
    return upgraded


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return scores of format 1, the baseline among them, by the names of format 2."""
    named = {_RENAMED.get(name, name): value for name, value in values.items()}
    if "baseline" in named:
        named["baseline"] = _renamed(named["baseline"])
    return named


def _first_solved(result: dict[str, Any]) -> int | None:
    """Return the update of the first validation with accuracy 1, as far as a result of format 1 knows it."""
    known = result.get("validations", {"update": [], "accuracy": []})
    for update, accuracy in zip(known["update"], known["accuracy"], strict=True):
        if accuracy == 1:
            return int(update)
    return int(result["val"]["update"]) if result["solved"] else None  # early versions kept no validations


def scores_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the scores of the test set, or of the set that an evaluation was asked for.

    Args:
        result: Of a training run or of an evaluation.
    """
    return dict(result[result["settings"].get("split", "test")])


def accuracy_of(result: dict[str, Any]) -> float:
    """Return the accuracy (0..1) that tables have: of the set that `scores_of` returns.

    Args:
        result: Of a training run or of an evaluation.
    """
    return float(scores_of(result)["accuracy"])


def baseline_of(result: dict[str, Any]) -> float:
    """Return the accuracy (0..1) of the best constant answer on the same set.

    Args:
        result: Of a training run or of an evaluation.
    """
    return float(scores_of(result)["baseline"]["accuracy"])


def is_solved(result: dict[str, Any]) -> bool:
    """Return whether the best validation of a training run had accuracy 1.

    Args:
        result: Of a training run.
    """
    return bool(result["solved"])


def updates_to_solve(result: dict[str, Any]) -> int | None:
    """Return the update of the first validation with accuracy 1, or None if the run has not solved its task.

    Args:
        result: Of a training run.
    """
    return int(result["updates_to_solve"]) if is_solved(result) else None


def percent(share: float) -> str:
    """Return a share (0..1) in percent with one decimal; less than 1 is never 100 %.

    Args:
        share: The share.
    """
    text = f"{share:.1%}"
    return "99.9%" if text == "100.0%" and share < 1 else text


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
