"""Where curves go: into the run directory, or into a store of all runs; a resumed run goes on with its own."""

import csv
import hashlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

from ffattn.errors import TrainingError, reason_of
from ffattn.system.atomic_files import whole

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
_PROJECT = "ffattn"
_STORE = "outputs/mlflow.db"


def make_loggers(
    kind: str, folder: Path, settings: dict[str, Any], update: int = 0, is_optional: bool = False
) -> list[Logger]:
    """Loggers that go on with a resumed run's curves, up to where it goes on.

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
    kinds = {"many": ("tensorboard", "csv"), "none": ()}.get(kind, (kind,))
    makers = {"tensorboard": _tensorboard, "csv": _csv, "mlflow": _mlflow, "wandb": _wandb}
    loggers: list[Logger] = []
    for each in kinds:
        guard = _Guard(each, folder, is_optional)
        if logger := guard.call(makers[each], folder, flat, update):
            guard.put_before(logger)
            loggers.append(logger)
    return loggers


@dataclass
class _Guard:
    """Says in one line that a logger failed, which ends the run, or only the logger.

    Attributes:
        kind: Which one.
        folder: The run directory.
        is_optional: Whether the run goes on.
        has_failed: Whether the logger is not called any more.
    """

    kind: str
    folder: Path
    is_optional: bool
    has_failed: bool = False

    def put_before(self, logger: Logger) -> None:
        """Stand before what writes; an attribute of the logger itself, since Lightning asks for its class.

        Args:
            logger: Changed in place.
        """
        for method in ("log_metrics", "log_hyperparams", "save", "finalize"):
            setattr(logger, method, partial(self.call, getattr(logger, method)))

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call what writes, and return what it does; None if it fails, or something failed before.

        Args:
            method: Makes the logger, or is one of its methods.
            *arguments: Its arguments.
            **options: Likewise.

        Raises:
            TrainingError: It failed, and the run is not to go on.
        """
        if self.has_failed:
            return None
        try:
            return method(*arguments, **options)
        except Exception as error:  # a logger's can be anything
            self.has_failed = True
            message = f"{self.folder}: logger={self.kind} cannot write curves: {reason_of(error)}"
            if not self.is_optional:
                advice = "the last checkpoint is whole; logger.on_error=ignore goes on without curves"
                raise TrainingError(f"{message}; {advice}") from error
            print(f"{message}; going on without", file=sys.stderr)
            return None


@cache
def _silence_writers() -> None:
    """TensorBoard's writer raises its thread's error where it is called, and need not print it from the thread too."""
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_AsyncWriterThread":
            before(arguments)

    threading.excepthook = hook


def _flatten(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{path}{name}"
        flat |= _flatten(value, f"{key}/") if isinstance(value, dict) else {key: value}
    return flat


def _tensorboard(folder: Path, settings: dict[str, Any], update: int) -> TensorBoardLogger:
    """Name the columns of the HPARAMS tab once; metrics fill them when they are logged under the same names."""
    _silence_writers()
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False, purge_step=update + 1)
    for summary in hparams(_columns(settings), dict.fromkeys(_FINAL_METRICS, 0.0)):
        logger.experiment._get_file_writer().add_summary(summary)
    logger.experiment.add_custom_scalars(_LAYOUT)
    return logger


def _columns(settings: dict[str, Any]) -> dict[str, Any]:
    """What runs are compared by: classes under their short names, and nothing of the machine."""
    apart = "accelerator/", "logger/", "trainer/progress", "resume", "_target_"
    columns = {name: value for name, value in settings.items() if not name.startswith(apart)}
    known = {name: value for name, value in columns.items() if isinstance(value, bool | int | float | str)}
    return {
        name.removesuffix("/_target_"): str(value).rpartition(".")[2] if name.endswith("/_target_") else value
        for name, value in known.items()
    }


def _csv(folder: Path, settings: dict[str, Any], update: int) -> CSVLogger:
    """Go on with the file, whose rows no kill may cost; Lightning's own logger starts by deleting it."""
    path, aside = folder / "metrics.csv", folder / "metrics.csv.part"
    if path.exists():
        path.replace(aside)
    logger = CSVLogger(folder, name="", version="")
    writer = logger.experiment
    writer._rewrite_with_new_header = partial(_rewrite, path)
    if aside.exists():
        lines = [line for line in aside.read_text().splitlines(keepends=True) if line.endswith("\n")]  # one may be torn
        if lines:
            writer.metrics_keys = names = lines[0].strip().split(",")
            rows = (dict(zip(names, line.strip().split(","), strict=False)) for line in lines[1:])
            kept = [line for line, row in zip(lines[1:], rows, strict=True) if _is_past(row, update)]
            with whole(path) as part:
                part.write_text("".join([lines[0], *kept]))
        aside.unlink()
    return logger


def _is_past(row: dict[str, str], update: int) -> bool:
    """Whether a row will not be written again: a test comes after the last update, and has its number."""
    step = int(row["step"])
    is_test = any(name.startswith("test/") and value for name, value in row.items())
    return step < update or (step == update and not is_test)


def _rewrite(path: Path, names: list[str]) -> None:
    """Give a CSV file further columns, whole or not at all."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with whole(path) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def _mlflow(folder: Path, settings: dict[str, Any], update: int) -> MLFlowLogger:
    """In the store that MLFLOW_TRACKING_URI names, or else in one file for all runs; one run for each run directory."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    store = os.environ.get("MLFLOW_TRACKING_URI")
    if store is None:
        Path(_STORE).parent.mkdir(parents=True, exist_ok=True)
        store = f"sqlite:///{Path(_STORE).resolve()}"
    tags = {"folder": folder.resolve().as_posix(), "id": _identity(folder)}
    logger = MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=store, tags=tags)
    client = logger._mlflow_client
    experiment = client.get_experiment_by_name(_PROJECT)
    known = [] if experiment is None else client.search_runs([experiment.experiment_id], f"tags.id = '{tags['id']}'")
    if known:
        return MLFlowLogger(_PROJECT, tracking_uri=store, run_id=known[0].info.run_id)
    logger.log_hyperparams(settings)
    return logger


def _identity(folder: Path) -> str:
    """Of the run that is written to a directory, whatever characters its path has."""
    return hashlib.sha256(folder.resolve().as_posix().encode()).hexdigest()[:16]


def _wandb(folder: Path, settings: dict[str, Any], update: int) -> WandbLogger:
    """In the run directory, for `wandb sync`, unless WANDB_MODE=online; one run for each run directory."""
    os.environ.setdefault("WANDB_SILENT", "true")
    folder.mkdir(parents=True, exist_ok=True)
    offline = os.environ.get("WANDB_MODE") != "online"
    logger = WandbLogger(folder.name, folder, id=_identity(folder), project=_PROJECT, offline=offline, resume="allow")
    logger.log_hyperparams(settings)
    return logger


def close(loggers: list[Logger]) -> None:
    """Let the next run of this process have a run of its own: W&B's is the process's until it is finished."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
