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
from rich.markup import escape
from rich.table import Table

from ffattn.inference.checkpoint_files import BEST, checkpoints_of
from ffattn.inference.metric_names import STANDARD_METRICS, percent

_ATTENTION_COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {  # a title, and how the number is written
    "attention_mass": ("attention mass", partial(percent, decimals=2)),
    "lift": ("lift", "{:.3g}x".format),
    "found": ("found", percent),
    "effective_steps": ("effective steps", "{:,.1f}".format),
    "margin": ("margin", "{:.3g}".format),
}
_OF_TARGETS = "mae", "rmse", "r2"
_STOPPED = {
    "solved": "every validation sequence solved",
    "updates": "the most updates were made",
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
    writers = dict.fromkeys(standard, "{:.4g}".format) | {name: _ATTENTION_COLUMNS[name][1] for name in attention}
    table = _table("", "accuracy", "error", *titles)
    for name, values in sets.items():
        more = [_written(write, values.get(key)) for key, write in writers.items()]
        table.add_row(name, percent(values["accuracy"]), f"{values['error']:.3g}", *more)
    baselines = {name: values["baseline"] for name, values in sets.items()}
    are_alike = all(baseline == next(iter(baselines.values())) for baseline in baselines.values())
    for name, baseline in list(baselines.items())[: 1 if are_alike else None]:
        title = "baseline" if are_alike else f"{name} baseline"
        accuracy = _written(percent, baseline["accuracy"])
        table.add_row(title, accuracy, _written("{:.3g}".format, baseline["error"]), style="dim")
    return table


def _table(*titles: str) -> Table:
    return Table(*titles, box=SIMPLE_HEAD, padding=0, collapse_padding=True)


def _written(write: Callable[[float], str], number: float | None) -> str:
    return "" if number is None else write(number)


def targets_table(sets: dict[str, dict[str, Any]]) -> Table | None:
    """Make the table of the metrics of each target, in its own unit; None where there is one target.

    Args:
        sets: For each set its metrics, `rmse/NAME` for the target NAME.
    """
    names = dict.fromkeys(key.partition("/")[2] for values in sets.values() for key in values if "/" in key)
    if not names:
        return None
    table = _table("", "target", *(name.upper() for name in _OF_TARGETS))
    for set_name, values in sets.items():
        for name in names:
            numbers = [_written("{:.4g}".format, values.get(f"{metric}/{name}")) for metric in _OF_TARGETS]
            table.add_row(set_name, escape(name), *numbers)
    return table


def print_metrics(console: Console, sets: dict[str, dict[str, Any]]) -> None:
    """Print the metrics of evaluation sets, and the reason of each that has no value.

    Args:
        console: Where to.
        sets: For each set its metrics (see `metrics_table`).
    """
    console.print(metrics_table(sets))
    if (table := targets_table(sets)) is not None:
        console.print(table)
    for name, values in sets.items():
        for metric, reason in values.get("undefined", {}).items():
            line = f"{name}: no {metric.upper()}, which {reason}"
            console.print(line, highlight=False, markup=False, soft_wrap=True)


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
    print_metrics(console, {"validation": result["val"], "test": result["test"]})
    best = result["val"]["update"]
    folder = folder.resolve()
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    board = f"{_tensorboard()} --logdir {shlex.quote(str(folder))}"
    curves = {"tensorboard": board, "csv": folder / "metrics.csv", "many": board, "none": "not logged"}
    curves |= {"mlflow": "in MLflow's store, outputs/mlflow.db or MLFLOW_TRACKING_URI", "wandb": folder / "wandb"}
    print_header(
        console,
        stopped=f"{_stopped(result)}, after {_updates(result['updates'])}",
        metrics_of=f"the weights after {_updates(best)}",
        time=f"{result['seconds']:.1f} s, {result['updates_per_second']:.4g} updates/s",
        peak_memory=f"{result['peak_memory_mb']:.0f} MB",
        curves=curves[result["settings"]["logger"]["kind"]],
        checkpoint=checkpoints_of(folder) / BEST,
    )


def _stopped(result: dict[str, Any]) -> str:
    if result["stopped_because"] != "patience":
        return _STOPPED[result["stopped_because"]]
    options = result["settings"]["trainer"]
    least = options.get("min_updates", 0)
    at_least = f" (trainer.patience), and at least {_updates(least)} were made (trainer.min_updates)" if least else ""
    return f"{options['patience']} validations without a better one{at_least}"


def _updates(count: int) -> str:
    return f"{count:,} update{'' if count == 1 else 's'}"
