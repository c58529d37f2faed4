"""Curves in a store of many runs: MLflow's, or that of Weights & Biases."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

_PROJECT = "ffattn"
_STORE = "outputs/mlflow.db"


def make_mlflow(folder: Path, settings: dict[str, Any], update: int) -> MLFlowLogger:
    """Make the logger of a run: one run for each run directory.

    Its store is the one that MLFLOW_TRACKING_URI names, or else one file for all runs.

    Args:
        folder: The run directory.
        settings: Of the run, in one level.
        update: How many updates have been made; not used.
    """
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    store = os.environ.get("MLFLOW_TRACKING_URI")
    if store is None:
        store = _local_store()
    identity = _identity_of(folder)
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(_PROJECT)
    known = [] if experiment is None else client.search_runs([experiment.experiment_id], f"tags.id = '{identity}'")
    if known:
        return MLFlowLogger(_PROJECT, tracking_uri=store, run_id=known[0].info.run_id)
    tags = {"folder": folder.resolve().as_posix(), "id": identity}
    logger = MLFlowLogger(_PROJECT, run_name=folder.name, tracking_uri=store, tags=tags)
    logger.log_hyperparams(settings)
    return logger


def _local_store() -> str:
    Path(_STORE).parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{Path(_STORE).resolve()}"


def _identity_of(folder: Path) -> str:
    """Return a name for the run that is written to a directory, whatever characters its path has."""
    return hashlib.sha256(folder.resolve().as_posix().encode()).hexdigest()[:16]


def make_wandb(folder: Path, settings: dict[str, Any], update: int) -> WandbLogger:
    """Make the logger of a run: one run for each run directory, and in it, for `wandb sync`, unless WANDB_MODE=online.

    Args:
        folder: The run directory.
        settings: Of the run, in one level.
        update: How many updates have been made; not used.
    """
    os.environ.setdefault("WANDB_SILENT", "true")
    folder.mkdir(parents=True, exist_ok=True)
    offline = os.environ.get("WANDB_MODE") != "online"
    identity = _identity_of(folder)
    logger = WandbLogger(folder.name, folder, id=identity, project=_PROJECT, offline=offline, resume="allow")
    logger.log_hyperparams(settings)
    return logger


def close_run(logger: Logger) -> None:
    """End a run that would be the process's until it is ended, as W&B's is.

    Args:
        logger: Of any kind.
    """
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
