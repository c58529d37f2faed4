"""What an estimator's parameters stand for: a model, and a run that is trained as the command does."""

import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier

from ffattn.errors import SettingError
from ffattn.estimators.distinct import VAL, divide
from ffattn.estimators.inputs import TABLE
from ffattn.estimators.parameters import NESTED, with_nested

if TYPE_CHECKING:
    from ffattn.inference.trained import TrainedModel
    from ffattn.tasks import Task

_PART = "part"
_FEWEST = 25  # updates between validations: a pass over little data is one or two


def task_of(
    estimator: Any,
    sequences: list[np.ndarray],
    y: np.ndarray,
    weights: np.ndarray,
    groups: np.ndarray,
) -> "Task":
    """Return the task of an estimator.

    Args:
        estimator: Has the parameters of `ffattn.sklearn`.
        sequences: (time, feature) each, no two of which are equal.
        y: Their targets.
        weights: How much each counts.
        groups: The class of each, which keeps its share in validation; or the same number for all.

    Raises:
        SettingError: A parameter has a value that it cannot have.
        DataError: A target is none.
    """
    from ffattn.files.fitting import CLASSIFICATION, REGRESSION
    from ffattn.files.splits import COLUMN
    from ffattn.settings import problem_of, type_problem_of
    from ffattn.tasks import Arrays

    share = estimator.validation_share
    if problem := type_problem_of(share, float) or problem_of(share, {"low": 0, "below": 1}):
        raise SettingError("validation_share", share, problem)
    parts = divide(groups, share)
    taken = [] if estimator.form_ == TABLE else list(getattr(estimator, "feature_names_in_", ()))
    return Arrays(
        x=sequences,
        y=y,
        target=_other_than(taken, "y") if y.ndim == 1 else None,
        weights=None if (weights == weights[0]).all() else weights,
        columns={_PART: parts},
        features=taken or None,
        kind=CLASSIFICATION if is_classifier(estimator) else REGRESSION,
        missing=estimator.missing,
        split=COLUMN,
        split_by=_PART,
        val_share=share if VAL in parts else 0.0,
        test_share=0.0,
    )


def _other_than(names: list[str], wanted: str) -> str:
    """A name for the target that no feature has."""
    return _other_than(names, f"{wanted}_") if wanted in names else wanted


def class_texts(classes: np.ndarray) -> list[str | None]:
    """Return what a trained network calls some classes.

    Args:
        classes: As a user has them.
    """
    from ffattn.files.arrays import column_of
    from ffattn.files.values import texts_of

    return texts_of(column_of("y", classes, len(classes)))


def train_estimator(estimator: Any, task: "Task", seed: int) -> tuple["TrainedModel", int]:
    """Train, and return the best network and how many updates were made.

    Args:
        estimator: Has the parameters of `ffattn.sklearn`.
        task: The sequences.
        seed: Of weights and order.

    Raises:
        SettingError: A parameter has a value that it cannot have.
        TrainingError: A loss was not finite.
    """
    from ffattn.runs.resuming import find_start

    settings = _settings(estimator, task, seed)
    where = nullcontext(estimator.folder) if estimator.folder is not None else tempfile.TemporaryDirectory()
    with where as folder:
        start = find_start(settings, Path(folder))
        from ffattn.runs.training import TrainedRun, train

        is_quiet = not estimator.verbose
        run = TrainedRun(start.source, start.result) if start.result else train(settings, Path(folder), start, is_quiet)
        trained = run.load()
    trained.network.double()  # so that an answer does not depend, not even by rounding, on which others are asked for
    return trained, int(run.result["updates"])


def _settings(estimator: Any, task: "Task", seed: int) -> Any:
    from ffattn.config.schema import QUIET, Accelerator, Logger, Train, Trainer
    from ffattn.optim import Adam
    from ffattn.rng.streams import Split

    size = task.size(Split.TRAIN)  # reads it, so that its length is known
    assert size is not None
    hidden = {} if estimator.hidden is None else {f"{NESTED}hidden": estimator.hidden}
    course = Trainer(
        validate_every=_FEWEST,
        sequences=None,
        stop_when_solved=False,
        patience=estimator.patience,
        progress="auto" if estimator.verbose else QUIET,
    )
    settings = Train(
        task=task,
        model=with_nested(estimator.model, hidden),
        optim=Adam(lr=estimator.lr),
        trainer=course,
        accelerator=Accelerator(device=estimator.device),
        logger=Logger("none" if estimator.folder is None else "tensorboard"),
        T=task.length.T,
        seed=seed,
        batch_size=estimator.batch_size,
        updates=estimator.updates,
        resume=None if estimator.folder is None else "last",
    )
    settings.trainer.validate_every = max(_FEWEST, -(-size // settings.batch_size))
    settings.accelerator.check(settings.precision)
    return settings
