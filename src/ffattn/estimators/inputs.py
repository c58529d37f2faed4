"""From what an estimator is given to an array for each sequence, with scikit-learn's checks and messages."""

from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data

from ffattn.files.preparation import REFUSE

TABLE = "table"  # rows are sequences of numbers: scikit-learn's columns are the steps
_LISTS = "sequences"


def sequences_of(estimator: Any, X: Any, is_fit: bool) -> list[np.ndarray]:
    """Return an array for each sequence, (time, feature), in float64; at `fit` note what the estimator has seen.

    Args:
        estimator: Gets `n_features_in_`, and `feature_names_in_` where features have names. Of a table these are its
            columns, which are the steps; otherwise the features of a step.
        X: (sequence, time), (sequence, time, feature), or a list of (time,) or (time, feature), of any lengths.
        is_fit: Whether the estimator is fitted, rather than used.

    Raises:
        ValueError: In scikit-learn's words.
    """
    from ffattn.files.arrays import split_sequences

    X = without_torch(X)
    parts = _parts(X, takes_rows=is_fit or estimator.form_ == TABLE)
    if parts is None and (is_fit or estimator.form_ == TABLE):
        estimator.form_ = TABLE
        rows = validate_data(estimator, X, reset=is_fit, ensure_all_finite=_finite(estimator), dtype="numeric")
        return list(rows.astype(np.float64)[..., None])
    if parts is None:
        parts = list(check_array(X, ensure_all_finite=False)[..., None])
    if not parts:
        raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
    tables, names = split_sequences(parts)
    if empty := [number for number, table in enumerate(tables) if not len(table)]:
        raise ValueError(f"X, sequence {empty[0]}: no steps")
    steps = check_array(np.concatenate(tables), ensure_all_finite=_finite(estimator), input_name="X")
    is_named = any(hasattr(part, "columns") for part in parts)
    _note_or_compare(estimator, steps.shape[1], names if is_named else None, is_fit)
    ends = np.cumsum([len(table) for table in tables])[:-1]
    return np.split(steps.astype(np.float64), ends)


def without_torch(values: Any) -> Any:
    """Return a tensor as NumPy's array, and anything else as it is.

    Args:
        values: What an estimator is given.
    """
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def _finite(estimator: Any) -> Any:
    return True if estimator.missing == REFUSE else "allow-nan"


def _parts(X: Any, takes_rows: bool) -> list[Any] | None:
    """The sequences of what is no table."""
    if isinstance(X, list | tuple):
        is_array = any(np.ndim(row) > 0 and hasattr(row, "shape") for row in X[:1])
        is_nested = any(np.ndim(row[0]) > 0 for row in X[:1] if isinstance(row, list | tuple) and len(row))
        lengths = {len(row) for row in X if isinstance(row, list | tuple)}
        return list(X) if is_array or is_nested or len(lengths) > 1 or (lengths and not takes_rows) else None
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1 and any(np.ndim(row) > 0 for row in X[:1]):
        return list(X)
    return list(np.asarray(X)) if getattr(X, "ndim", 0) == 3 else None


def _note_or_compare(estimator: Any, width: int, names: tuple[str, ...] | None, is_fit: bool) -> None:
    if is_fit:
        estimator.form_ = _LISTS
        estimator.n_features_in_ = width
        vars(estimator).pop("feature_names_in_", None)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
        return
    expected = estimator.n_features_in_ if estimator.form_ == _LISTS else 1
    if width != expected:
        name = type(estimator).__name__
        raise ValueError(f"X has {width} features, but {name} is expecting {expected} features as input")
    seen = getattr(estimator, "feature_names_in_", None)
    if names is not None and seen is not None and estimator.form_ == _LISTS and list(seen) != list(names):
        raise ValueError(
            f"The feature names should match those that were passed during fit: {', '.join(seen)}; "
            f"X has {', '.join(names)}"
        )


def require_fitted(estimator: Any) -> None:
    """Refuse an estimator that has not been trained.

    Args:
        estimator: The estimator.

    Raises:
        NotFittedError: It has not.
    """
    check_is_fitted(estimator, "trained_")


def targets_of(estimator: Any, y: Any, is_numeric: bool) -> np.ndarray:
    """Return targets: (sequence,), or (sequence, output) where they are several numbers.

    Args:
        estimator: For messages.
        y: What it is given.
        is_numeric: Whether targets must be numbers.

    Raises:
        ValueError: In scikit-learn's words.
    """
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target y is None."
        )
    y = without_torch(y)
    if not is_numeric:
        return np.asarray(column_or_1d(y, warn=True))
    numbers = check_array(y, ensure_2d=False, dtype="numeric", input_name="y", estimator=estimator).astype(np.float64)
    return numbers if numbers.ndim == 2 and numbers.shape[1] > 1 else np.asarray(column_or_1d(numbers, warn=True))


def weights_of(sample_weight: Any, sequences: list[np.ndarray]) -> np.ndarray:
    """Return how much each sequence counts, (sequence,); 1 unless given.

    Args:
        sample_weight: What the estimator is given.
        sequences: Its sequences.

    Raises:
        ValueError: A weight is negative, none is positive, or there are too few.
    """
    weights = _check_sample_weight(sample_weight, np.empty((len(sequences), 1)), ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight: all weights are zero, so that no sequence counts")
    return np.asarray(weights, dtype=np.float64)
