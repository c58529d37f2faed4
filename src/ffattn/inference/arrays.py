"""Sequences from arrays that hold what a file would: numbers in its units, categories and texts as they stand there."""

from pathlib import Path
from typing import Any

import numpy as np

from ffattn.files import Feature, Preparation, RawSequences
from ffattn.files.arrays import ArraySequences, checked_lengths, plain_array
from ffattn.files.preparation import NUMBER, WORD
from ffattn.files.row_form import split_text
from ffattn.files.values import NO_TEXT, texts_of


def column_names(preparation: Preparation) -> tuple[str, ...]:
    """Return what each place on the last axis of an array is: the order of `task.features`, or else of the file.

    Args:
        preparation: How columns become inputs.
    """
    names = tuple(feature.name for feature in preparation.features)
    return preparation.columns if set(preparation.columns) == set(names) else names


def sequences_of(preparation: Preparation, tokens: str, x: Any, lengths: Any = None) -> RawSequences:
    """Return the sequences of an array.

    Args:
        preparation: How columns become inputs.
        tokens: What the steps of a text are.
        x: (batch, time, column), or for each sequence (time, column), or a table with these columns by name. With a
            single column (batch, time) will do; where the inputs are words, texts.
        lengths: How many steps of each are real, (batch,); all if not given.

    Raises:
        ValueError: A shape or type does not fit, or only `lengths` could tell where sequences end.
    """
    names = column_names(preparation)
    if any(feature.kind == WORD for feature in preparation.features):
        return _raw([np.array(split_text(text, tokens), object)[:, None] for text in _texts(x)], preparation, names)
    tables = _tables(x, names)
    if lengths is not None:
        tables = [table[:length] for table, length in zip(tables, checked_lengths(lengths, tables), strict=True)]
    elif not isinstance(x, list | tuple) and (padded := [i for i, table in enumerate(tables) if _ends_empty(table)]):
        raise ValueError(f"x, sequence {padded[0]}: ends in steps without a value; give lengths, which say what is")
    return _raw(tables, preparation, names)


def _texts(x: Any) -> list[str]:
    texts = [x] if isinstance(x, str) else list(x)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("x must be a list of texts, whose words or characters are the steps")
    return texts


def _tables(x: Any, names: tuple[str, ...]) -> list[np.ndarray]:
    """An array (time, column) for each sequence."""
    if isinstance(x, list | tuple):
        return [_table(sequence, names) for sequence in x]
    x = _array(x)
    x = x[..., None] if x.ndim == 2 and len(names) == 1 else x
    if x.ndim != 3 or x.shape[2] != len(names):
        raise ValueError(f"x is {x.dtype} {x.shape}; must be (batch, time, {len(names)}): {', '.join(names)}")
    return list(x)


def _table(sequence: Any, names: tuple[str, ...]) -> np.ndarray:
    if hasattr(sequence, "keys"):
        if missing := [name for name in names if name not in sequence]:
            raise ValueError(f"x: a sequence has no column {missing[0]}; it has {', '.join(map(str, sequence.keys()))}")
        return np.stack([np.asarray(sequence[name], dtype=object) for name in names], axis=1)
    table = _array(sequence)
    table = table[:, None] if table.ndim == 1 and len(names) == 1 else table
    if table.ndim != 2 or table.shape[1] != len(names):
        raise ValueError(f"x: a sequence is {table.shape}; must be (time, {len(names)}): {', '.join(names)}")
    return table


def _array(x: Any) -> np.ndarray:
    try:
        array = plain_array(x) if hasattr(x, "dtype") else np.array(x, dtype=object)
    except ValueError as error:
        raise ValueError(f"x: no array of steps: {error}") from error
    if array.dtype.kind not in "biufOUT":
        raise ValueError(f"x is {array.dtype}; must be numbers, or objects where columns hold text")
    return array


def _ends_empty(table: np.ndarray) -> bool:
    return len(table) > 1 and all(_text(value) is None for value in table[-1].tolist())


def _raw(tables: list[np.ndarray], preparation: Preparation, names: tuple[str, ...]) -> RawSequences:
    offsets = np.concatenate(([0], np.cumsum([len(table) for table in tables]))).astype(np.int64)
    steps = np.concatenate(tables) if tables else np.empty((0, len(names)))
    by_name = {feature.name: feature for feature in preparation.features}
    features = {name: _column(by_name[name], steps[:, place]) for place, name in enumerate(names)}
    ids = np.array([str(number) for number in range(len(tables))], dtype=object)
    rows = np.arange(len(steps))
    are_words = any(feature.kind == WORD for feature in preparation.features)
    return ArraySequences(Path("x"), ids, offsets, features, {}, rows, names, are_words=are_words)


def _column(feature: Feature, values: np.ndarray) -> np.ndarray:
    """Values of a column as a file's would be: float64 with NaN, or text with None."""
    if feature.kind == NUMBER and values.dtype.kind in "biuf":
        return values.astype(np.float64)
    if feature.kind == WORD:
        return values
    texts = np.array([_text(value) for value in values.tolist()], dtype=object)
    return texts if len(texts) else np.empty(0, dtype=object)


def _text(value: Any) -> str | None:
    """A value as a file would have it, or None for what is missing."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, int | float | np.number):
        return texts_of(np.array([float(value)]))[0] if not isinstance(value, int | np.integer) else str(value)
    return None if value is None or str(value) in NO_TEXT else str(value)
