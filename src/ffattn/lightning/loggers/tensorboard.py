"""Curves in TensorBoard."""

import threading
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from ffattn.lightning.loggers.guarded import GuardedLogger

_FINAL_METRICS = ("val/accuracy", "val/error", "test/accuracy", "test/error")
_LAYOUT = {  # of the CUSTOM SCALARS tab: what belongs together is in one chart
    "learning": {
        "accuracy": ["Multiline", ["train/accuracy", "val/accuracy"]],
        "error": ["Multiline", ["train/loss", "val/error"]],
    },
    "attention": {
        "attention mass; relevant steps found": ["Multiline", ["attention/mass", "attention/found"]],
        "score margin of relevant steps over all others": ["Multiline", ["attention/margin"]],
        "effective number of attended steps": ["Multiline", ["attention/effective_steps"]],
    },
}


def make_tensorboard(folder: Path, settings: dict[str, Any], update: int) -> TensorBoardLogger:
    """Make the logger of a run; its columns of the HPARAMS tab are filled by metrics of the same names.

    Args:
        folder: The run directory.
        settings: Of the run, in one level.
        update: How many updates have been made; later entries are hidden, since they will be logged again.
    """
    from torch.utils.tensorboard.summary import hparams  # imports TensorBoard, which runs without curves do not need

    _silence_writers()
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False, purge_step=update + 1)
    for summary in hparams(_columns(settings), dict.fromkeys(_FINAL_METRICS, 0.0)):
        logger.experiment.file_writer.add_summary(summary)
    logger.experiment.add_custom_scalars(_LAYOUT)
    return logger


@cache
def _silence_writers() -> None:
    """Keep TensorBoard's writer from printing an error of its thread, which it also raises where it is called."""
    threading.excepthook = partial(_tell_unless_writer, threading.excepthook)


def _tell_unless_writer(tell: Callable[..., Any], arguments: threading.ExceptHookArgs) -> None:
    if type(arguments.thread).__name__ != "_AsyncWriterThread":  # by another name, the error is printed twice
        tell(arguments)


def _columns(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what runs are compared by: classes under their short names, and nothing of the machine."""
    apart = "accelerator/", "logger/", "trainer/progress", "resume", "_target_"
    columns = {name: value for name, value in settings.items() if not name.startswith(apart)}
    known = {name: value for name, value in columns.items() if isinstance(value, bool | int | float | str)}
    return {
        name.removesuffix("/_target_"): str(value).rpartition(".")[2] if name.endswith("/_target_") else value
        for name, value in known.items()
    }


def boards_of(loggers: Iterable[Logger]) -> list[Any]:
    """Return TensorBoard's writers, for pictures and embeddings.

    Args:
        loggers: Of a run; those that write elsewhere are left out.
    """
    guarded = (logger for logger in loggers if isinstance(logger, GuardedLogger))
    return [logger.experiment for logger in guarded if isinstance(logger.inner, TensorBoardLogger)]
