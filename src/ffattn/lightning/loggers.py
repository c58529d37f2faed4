"""Where curves go: into the run directory, or into a store of all runs; a resumed run goes on with its own."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch.utils.tensorboard.summary import hparams

_FINAL_METRICS = ("val/solved", "val/error", "test/solved", "test/error")
_LAYOUT = {  # of the CUSTOM SCALARS tab: what belongs together is in one chart
    "learning": {
        "share solved": ["Multiline", ["train/solved", "val/solved"]],
        "error": ["Multiline", ["train/loss", "val/error"]],
    },
    "attention": {
        "weight on the marks, and marks found": ["Multiline", ["attention/mass", "attention/found"]],
        "scores: marks above the rest": ["Multiline", ["attention/margin"]],
        "steps that attention is spread over": ["Multiline", ["attention/steps"]],
    },
}
_PROJECT = "ffattn"
_STORE = "outputs/mlflow.db"


def make_loggers(kind: str, folder: Path, settings: dict[str, Any]) -> list[Logger]:
    """Loggers that go on with a resumed run's curves.

    Args:
        kind: `tensorboard`, `csv`, `mlflow`, `wandb`, `many` (TensorBoard and CSV) or `none`.
        folder: The run directory.
        settings: Plain settings, which are the run's hyperparameters.
    """
    flat = _flatten(settings)
    kinds = {"many": ("tensorboard", "csv"), "none": ()}.get(kind, (kind,))
    makers = {"tensorboard": _tensorboard, "csv": _csv, "mlflow": _mlflow, "wandb": _wandb}
    return [makers[each](folder, flat) for each in kinds]


def _flatten(settings: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{path}{name}"
        flat |= _flatten(value, f"{key}/") if isinstance(value, dict) else {key: value}
    return flat


def _tensorboard(folder: Path, settings: dict[str, Any]) -> TensorBoardLogger:
    """Name the columns of the HPARAMS tab once; metrics fill them when they are logged under the same names."""
    logger = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
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


def _csv(folder: Path, settings: dict[str, Any]) -> CSVLogger:
    """Go on with the file; Lightning's own logger starts by deleting it."""
    path = folder / "metrics.csv"
    before = path.read_text() if path.exists() else ""
    logger = CSVLogger(folder, name="", version="")
    if before and logger.experiment.metrics_file_path:
        path.write_text(before)
        logger.experiment.metrics_keys = before.splitlines()[0].split(",")
    return logger


def _mlflow(folder: Path, settings: dict[str, Any]) -> MLFlowLogger:
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


def _wandb(folder: Path, settings: dict[str, Any]) -> WandbLogger:
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
