"""The names of metrics, and their values as text and JSON have them."""

import math
from typing import Any

TASK_METRICS = "accuracy", "error"
ATTENTION_METRICS = "attention_mass", "lift", "found", "effective_steps", "margin"
STANDARD_METRICS = "f1", "auroc", "mae", "rmse", "r2"
RESULT_METRICS = *TASK_METRICS, *STANDARD_METRICS, *ATTENTION_METRICS  # what result.json and checkpoints keep
_UNDEFINED = {
    "r2": "needs targets that are not all the same",
    "auroc": "needs targets of more than one class",
    "margin": "needs steps that are not relevant",
}
_RENAMED = {"solved": "accuracy", "mass": "attention_mass", "steps": "effective_steps"}


def rename_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Return values under the present names of metrics; formats 1 of results and checkpoints have earlier ones.

    Args:
        values: By name; names that are no metrics stay.
    """
    return {_RENAMED.get(name, name): value for name, value in values.items()}


def is_result_metric(name: str) -> bool:
    """Return whether `result.json` and checkpoints keep a value.

    Args:
        name: Of a metric, or of a metric of one target, `rmse/NAME`.
    """
    return name.partition("/")[0] in RESULT_METRICS


def plain_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Return metrics that JSON can hold: null for what is not finite, with the reasons under `undefined`.

    Args:
        values: By name; numbers, or groups of them.
    """
    plain = {name: plain_metrics(value) if isinstance(value, dict) else value for name, value in values.items()}
    missing = [name for name, value in plain.items() if isinstance(value, float) and not math.isfinite(value)]
    if not missing:
        return plain
    reasons = {name: _UNDEFINED.get(name.partition("/")[0], "is not finite") for name in missing}
    return plain | dict.fromkeys(missing) | {"undefined": reasons}


def percent(share: float, decimals: int = 1) -> str:
    """Return a share (0..1) in percent; less than 1 is never 100 %.

    Args:
        share: The share.
        decimals: Digits after the point.
    """
    text = f"{share:.{decimals}%}"
    is_rounded_up = share < 1 and text == f"{1:.{decimals}%}"
    return f"{1 - 10.0 ** -(decimals + 2):.{decimals}%}" if is_rounded_up else text
