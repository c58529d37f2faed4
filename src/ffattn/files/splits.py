"""Which sequences are for training, for validation, and for the test."""

from typing import NamedTuple

import numpy as np

from ffattn.errors import DataError
from ffattn.files.sequences import RawSequences
from ffattn.files.times import sort_keys
from ffattn.files.values import texts_of
from ffattn.system.lazy import Int

RANDOM = "random"
STRATIFIED = "stratified"
GROUP = "group"
TIME = "time"
COLUMN = "column"
SPLITS = (RANDOM, STRATIFIED, GROUP, TIME, COLUMN)

TRAIN = 0
VAL = 1
TEST = 2
PART_TITLES = {TRAIN: "training", VAL: "validation", TEST: "the test"}
PART_WORDS = {part: f"for {title}" for part, title in PART_TITLES.items()}
_NAMES = {"train": TRAIN, "training": TRAIN, "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "test": TEST}


class SplitRule(NamedTuple):
    """How sequences are divided.

    Attributes:
        how: `random`; `stratified` (random, each value of the column with the same share of each part); `group` (all
            sequences with the same value of the column are in one part); `time` (the last ones to begin are the test,
            those before them the validation); or `column` (which says train, val or test).
        column: The column for `stratified`, `group` and `column`; for `time` another one than the time of the steps,
            if given.
        val_share: The share for validation, 0..1.
        test_share: The share for the test, 0..1.
        seed: Of `random`, `stratified` and `group`.
    """

    how: str
    column: str | None
    val_share: float
    test_share: float
    seed: int = 0


def assign_parts(raw: RawSequences, rule: SplitRule) -> Int[np.ndarray, " sequence"]:
    """Return the part of each sequence: 0 training, 1 validation, 2 test.

    Args:
        raw: Sequences.
        rule: How they are divided.

    Raises:
        DataError: A part would be empty, the column says something else, or has hardly two sequences of a value.
    """
    parts = _parts_by_rule(raw, rule)
    wanted = {"training": (TRAIN, 1.0), "validation": (VAL, rule.val_share), "test": (TEST, rule.test_share)}
    for name, (part, share) in wanted.items():
        if share and not (parts == part).any():
            count = len(raw)
            raise DataError(f"{raw.path}: no sequence is left for {name}; there are {count} in all (split={rule.how})")
    return parts


def _parts_by_rule(raw: RawSequences, rule: SplitRule) -> np.ndarray:
    if rule.how == TIME:
        return _last_to_test(np.argsort(_starts(raw, rule.column), kind="stable"), rule)
    if rule.how == RANDOM:
        return _last_to_test(_permutation(len(raw), rule.seed), rule)
    assert rule.column is not None
    if rule.how == COLUMN:
        return _parts_of_column(raw, rule.column)
    if rule.how == GROUP:
        groups, members = _distinct_values(raw, rule.column)
        parts = _last_to_test(_permutation(len(groups), rule.seed), rule)
        return np.asarray(parts[members])
    return _last_to_test(_evenly(raw, rule.column, _permutation(len(raw), rule.seed)), rule)


def _permutation(count: int, seed: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=seed)).permutation(count)


def _distinct_values(raw: RawSequences, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column, and which of them each sequence has."""
    texts = texts_of(raw.columns[column])
    if None in texts:
        raise DataError(f"{raw.at(texts.index(None), column)}: no value, which the split needs")
    values, members = np.unique(np.array(texts, dtype=object), return_inverse=True)
    return values, members


def _evenly(raw: RawSequences, column: str, order: np.ndarray) -> np.ndarray:
    """The same order, but for each value of the column: its sequences at equal distances from the first to the last."""
    values, members = _distinct_values(raw, column)
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


def _last_to_test(order: np.ndarray, rule: SplitRule) -> np.ndarray:
    """The last ones for the test, those before them for validation."""
    count = len(order)
    test = round(rule.test_share * count) or int(rule.test_share > 0)
    val = round(rule.val_share * count) or int(rule.val_share > 0)
    parts = np.full(count, TRAIN)
    parts[order[max(0, count - test) :]] = TEST
    parts[order[max(0, count - test - val) : max(0, count - test)]] = VAL
    return parts


def _starts(raw: RawSequences, column: str | None) -> np.ndarray:
    if column is not None:
        return sort_keys(raw.columns[column], lambda sequence: raw.at(sequence, column))
    if raw.starts is None:
        raise DataError(f"{raw.path}: split=time needs time=COLUMN, or split_by=COLUMN")
    return raw.starts


def _parts_of_column(raw: RawSequences, column: str) -> np.ndarray:
    texts = texts_of(raw.columns[column])
    for sequence, text in enumerate(texts):
        if str(text).lower() not in _NAMES:
            raise DataError(f"{raw.at(sequence, column)}: {text or 'no value'}; must be train, val or test")
    return np.array([_NAMES[str(text).lower()] for text in texts])
