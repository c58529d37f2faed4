"""Where curves go: into the run directory, or into a store of all runs; a resumed run goes on with its own."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ffattn.lightning.loggers.csv_file import make_csv
from ffattn.lightning.loggers.guarded import GuardedLogger, LoggerGuard
from ffattn.lightning.loggers.tensorboard import make_tensorboard
from ffattn.lightning.loggers.tracking import close_run, make_mlflow, make_wandb

__all__ = ["close", "make_loggers"]

_MAKERS = {"tensorboard": make_tensorboard, "csv": make_csv, "mlflow": make_mlflow, "wandb": make_wandb}
_GROUPS: dict[str, tuple[str, ...]] = {"many": ("tensorboard", "csv"), "none": ()}


def make_loggers(
    kind: str, folder: Path, settings: dict[str, Any], update: int = 0, is_optional: bool = False
) -> list[Logger]:
    """Make loggers that go on with a resumed run's curves, up to where it goes on.

    Args:
        kind: `tensorboard`, `csv`, `mlflow`, `wandb`, `many` (TensorBoard and CSV) or `none`.
        folder: The run directory.
        settings: Plain settings, which are the run's hyperparameters.
        update: How many updates have been made. What was logged of later ones, before a kill, is logged again.
        is_optional: Whether a run goes on if its curves cannot be written.

    Raises:
        TrainingError: Now, or later by a logger, if it cannot write, unless that is to be ignored.
    """
    flat = _flatten(settings)
    loggers: list[Logger] = []
    for each in _GROUPS.get(kind, (kind,)):
        guard = LoggerGuard(each, folder, is_optional)
        if logger := guard.call(_MAKERS[each], folder, flat, update):
            loggers.append(GuardedLogger(logger, guard))
    return loggers


def _flatten(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{path}{name}"
        flat |= _flatten(value, f"{key}/") if isinstance(value, dict) else {key: value}
    return flat


def close(loggers: list[Logger]) -> None:
    """Let the next run of this process have a run of its own.

    Args:
        loggers: As `make_loggers` made them.
    """
    for logger in loggers:
        if isinstance(logger, GuardedLogger):
            close_run(logger.inner)
