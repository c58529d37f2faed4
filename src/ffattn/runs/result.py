"""`result.json`: what a finished run leaves behind."""

import json
from pathlib import Path
from typing import Any

from ffattn.config.errors import DamagedError
from ffattn.inference.metric_names import percent, plain_metrics, rename_metrics
from ffattn.system.atomic_files import atomic_write

__all__ = [
    "FORMAT",
    "RESULT",
    "accuracy_of",
    "baseline_of",
    "is_solved",
    "is_training_run",
    "metrics_of",
    "parse_result",
    "percent",
    "read_result",
    "updates_to_solve",
    "updates_to_solve_of",
    "upgrade_result",
    "write_result",
]

RESULT = "result.json"
FORMAT = 2  # of `result.json`; format 1 had no number
_SPLITS = "train", "val", "test"


def write_result(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write `result.json`, whole or not at all.

    Args:
        folder: The run directory.
        result: Plain values.

    Returns:
        What was written: JSON has no NaN, so what has no value is null, with the reason beside it.
    """
    plain = plain_metrics(result)
    with atomic_write(folder / RESULT) as part:
        part.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")
    return plain


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
    if is_training_run(result):
        upgraded["solved"] = upgraded["val"]["accuracy"] == 1
        upgraded["updates_to_solve"] = updates_to_solve(upgraded.get("validations", {}), upgraded["val"])
    return upgraded


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Return scores of format 1, the baseline among them, by the names of format 2."""
    named = rename_metrics(values)
    if "floor" in named:
        named["baseline"] = rename_metrics(named.pop("floor"))
    return named


def updates_to_solve(validations: dict[str, Any], best: dict[str, Any]) -> int | None:
    """Return the update of the first validation with accuracy 1; None if there was none.

    Args:
        validations: Lists of `update` and `accuracy`; empty if they were not kept, as in early versions.
        best: The best validation.
    """
    updates = validations.get("update", [])
    accuracies = validations.get("accuracy", [])
    solved = [update for update, accuracy in zip(updates, accuracies, strict=True) if accuracy == 1]
    if best["accuracy"] == 1:
        solved.append(best["update"])
    return min(solved, default=None)


def is_training_run(result: dict[str, Any]) -> bool:
    """Return whether a result is of a training run, not of an evaluation.

    Args:
        result: What `result.json` holds.
    """
    return "stopped_because" in result


def metrics_of(result: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of the test set, or of the set that an evaluation was asked for.

    Args:
        result: Of a training run or of an evaluation.
    """
    return dict(result[result["settings"].get("split", "test")])


def accuracy_of(result: dict[str, Any]) -> float:
    """Return the accuracy (0..1) that tables have: of the set that `metrics_of` returns.

    Args:
        result: Of a training run or of an evaluation.
    """
    return float(metrics_of(result)["accuracy"])


def baseline_of(result: dict[str, Any]) -> float:
    """Return the accuracy (0..1) of the best constant answer on the same set.

    Args:
        result: Of a training run or of an evaluation.
    """
    return float(metrics_of(result)["baseline"]["accuracy"])


def is_solved(result: dict[str, Any]) -> bool:
    """Return whether the best validation of a training run had accuracy 1.

    Args:
        result: Of a training run.
    """
    return bool(result["solved"])


def updates_to_solve_of(result: dict[str, Any]) -> int | None:
    """Return the update of the first validation with accuracy 1, or None if the run has not solved its task.

    Args:
        result: Of a training run.
    """
    return int(result["updates_to_solve"]) if is_solved(result) else None
