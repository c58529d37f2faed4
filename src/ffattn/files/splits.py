"""Which sequences are for training, for validation, and for the test."""

import numpy as np
from jaxtyping import Int

from ffattn.errors import DataError
from ffattn.files.layouts import Raw
from ffattn.files.preparation import texts_of

RANDOM, STRATIFIED, GROUP, TIME, COLUMN = "random", "stratified", "group", "time", "column"
SPLITS = (RANDOM, STRATIFIED, GROUP, TIME, COLUMN)
TRAIN, VAL, TEST = range(3)
_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "test": TEST}


def split(
    raw: Raw, how: str, column: str | None, shares: tuple[float, float], seed: int
) -> Int[np.ndarray, " sequence"]:
    """The part of each sequence: 0 training, 1 validation, 2 test.

    Args:
        raw: Sequences.
        how: `random`; `stratified` (random, each value of the column with the same share of each part); `group` (all
            sequences with the same value of the column are in one part); `time` (the last ones to begin are the test,
            those before them the validation); or `column` (which says train, val or test).
        column: The column for `stratified`, `group` and `column`; for `time` another one than the time of the steps,
            if given.
        shares: Of validation and of test, 0..1.
        seed: Of `random`, `stratified` and `group`.

    Raises:
        DataError: A part would be empty, the column says something else, or has hardly two sequences of a value.
    """
    if how == COLUMN:
        assert column is not None
        parts = _by_column(raw, column)
    elif how == GROUP:
        assert column is not None
        groups, members = _values(raw, column)
        parts = _in_order(_shuffled(len(groups), seed), shares)[members]
    elif how == STRATIFIED:
        assert column is not None
        parts = _in_order(_evenly(raw, column, _shuffled(len(raw), seed)), shares)
    elif how == TIME:
        parts = _in_order(np.argsort(_starts(raw, column), kind="stable"), shares)
    else:
        parts = _in_order(_shuffled(len(raw), seed), shares)
    wanted = {TRAIN: 1.0, VAL: shares[0], TEST: shares[1]}
    for name, part in {"training": TRAIN, "validation": VAL, "test": TEST}.items():
        if wanted[part] and not (parts == part).any():
            raise DataError(f"{raw.path}: no sequence is left for {name}; there are {len(raw)} in all (split={how})")
    return parts


def _shuffled(count: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed)).permutation(count)


def _values(raw: Raw, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column, and which of them each sequence has."""
    values, members = np.unique(np.array([str(text) for text in texts_of(raw.columns[column])]), return_inverse=True)
    return values, members


def _evenly(raw: Raw, column: str, order: np.ndarray) -> np.ndarray:
    """The same order, but for each value of the column: its sequences at equal distances from the first to the last."""
    values, members = _values(raw, column)
    if len(values) > len(raw) / 2:
        raise DataError(
            f"{raw.path}: split=stratified needs classes, and column {column} has {len(values)} different values in "
            f"{len(raw)} sequences; use split=random, or split_by=COLUMN"
        )
    counts = np.bincount(members)
    by_value = order[np.argsort(members[order], kind="stable")]
    ranks = np.arange(len(raw)) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.empty(len(raw))
    places[by_value] = (ranks + 0.5) / counts[members[by_value]]
    return order[np.argsort(places[order], kind="stable")]


def _in_order(order: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """The last ones for the test, those before them for validation."""
    count = len(order)
    test = round(shares[1] * count) or int(shares[1] > 0)
    val = round(shares[0] * count) or int(shares[0] > 0)
    parts = np.full(count, TRAIN)
    parts[order[max(0, count - test) :]] = TEST
    parts[order[max(0, count - test - val) : max(0, count - test)]] = VAL
    return parts


def _starts(raw: Raw, column: str | None) -> np.ndarray:
    if column is not None:
        values = raw.columns[column]
        if values.dtype == object:
            return np.unique(np.array([str(text) for text in values]), return_inverse=True)[1]
        return values
    if raw.starts is None:
        raise DataError(f"{raw.path}: split=time needs time=COLUMN, or split_by=COLUMN")
    return raw.starts


def _by_column(raw: Raw, column: str) -> np.ndarray:
    texts = texts_of(raw.columns[column])
    for sequence, text in enumerate(texts):
        if str(text).lower() not in _NAMES:
            raise DataError(f"{raw.at(sequence, column)}: {text}; must be train, val or test")
    return np.array([_NAMES[str(text).lower()] for text in texts])
