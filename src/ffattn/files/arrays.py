"""Arrays in memory become the sequences that a file would: numbers in its units, categories and texts as they stand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import LISTS, TEXT, Layout
from ffattn.files.row_form import split_text
from ffattn.files.sequences import RawSequences
from ffattn.files.values import exact_values, to_array

_TEXT = "text"  # the feature of texts


@dataclass(frozen=True)
class ArraySequences(RawSequences):
    """Sequences of an array, which messages name by their places."""

    def where(self, step: int, column: str) -> str:
        """Name a value of a step, both counted from 0."""
        sequence = int(np.searchsorted(self.offsets, step, side="right")) - 1
        return f"{self.path}, sequence {self.ids[sequence]}, step {step - self.offsets[sequence]}, column {column}"


def from_arrays(
    name: str, tables: Sequence[np.ndarray], features: Sequence[str], columns: Mapping[str, Any]
) -> ArraySequences:
    """Return sequences from an array for each.

    Args:
        name: What messages call the arrays.
        tables: The steps of each sequence, (time, feature): numbers with NaN where one is missing, or objects.
        features: What the places on the last axis are.
        columns: One value for each sequence, by name, (sequence,).

    Raises:
        DataError: A sequence has no steps, a column has another length, or values are neither numbers nor text.
    """
    lengths = np.array([len(table) for table in tables], dtype=np.int64)
    if (empty := np.flatnonzero(lengths == 0)).size:
        raise DataError(f"{name}, sequence {empty[0]}: no steps")
    steps = np.concatenate(tables) if len(tables) else np.empty((0, len(features)))
    inputs = {feature: _feature(name, feature, steps[:, place]) for place, feature in enumerate(features)}
    return _assembled(name, lengths, inputs, columns, LISTS)


def from_texts(name: str, texts: Sequence[str], tokens: str, columns: Mapping[str, Any]) -> ArraySequences:
    """Return sequences from texts, whose words or characters are the steps.

    Args:
        name: What messages call the texts.
        texts: One for each sequence.
        tokens: One of `ffattn.files.layouts.TOKENS`.
        columns: One value for each sequence, by name, (sequence,).

    Raises:
        DataError: A text has no words, or a column another length.
    """
    words = [split_text(text, tokens) for text in texts]
    lengths = np.array([len(own) for own in words], dtype=np.int64)
    if (empty := np.flatnonzero(lengths == 0)).size:
        raise DataError(f"{name}, sequence {empty[0]}: a text without words")
    steps = np.array([word for own in words for word in own], dtype=object)
    return _assembled(name, lengths, {_TEXT: steps}, columns, TEXT)


def _assembled(
    name: str, lengths: np.ndarray, features: dict[str, np.ndarray], columns: Mapping[str, Any], form: str
) -> ArraySequences:
    count = len(lengths)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ids = np.array([str(number) for number in range(count)], dtype=object)
    return ArraySequences(
        Path(name),
        ids,
        offsets,
        features,
        {key: column_of(key, values, count) for key, values in columns.items()},
        np.repeat(np.arange(count), lengths),
        tuple(features),
        are_words=form == TEXT,
        layout=Layout(features=tuple(features), of_sequence=tuple(columns), form=form, is_understood=True),
    )


def _feature(name: str, feature: str, values: np.ndarray) -> np.ndarray:
    """Values of a feature as a file's would be: float64 with NaN, or text with None."""
    if values.dtype.kind in "iuf":
        return values.astype(np.float64)
    return to_array(Path(name), feature, _arrow(f"{name}, column {feature}", values))


def column_of(key: str, values: Any, count: int) -> Any:
    """Return one value for each sequence, exactly: a pyarrow array.

    Args:
        key: What messages call it.
        values: Anything with a value for each.
        count: How many sequences there are.

    Raises:
        DataError: There are more or fewer, or they are of different kinds.
    """
    array = np.asarray(values)
    if array.shape != (count,):
        raise DataError(f"{key}: has shape {array.shape}; must be ({count},), a value for each sequence")
    return exact_values(Path(key), key, _arrow(key, array))


def _arrow(where: str, values: np.ndarray) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values.tolist() if values.dtype.kind == "O" else values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataError(f"{where}: values of one kind are needed, numbers or text ({_line(error)})") from error


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def split_sequences(x: Any, lengths: Any = None) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return an array for each sequence, (time, feature), and what its columns are called.

    Args:
        x: (sequence, time), (sequence, time, feature), or for each sequence (time,), (time, feature), or a table with
            columns by name.
        lengths: How many steps of each are real, (sequence,); all if not given.

    Raises:
        DataError: Shapes or names of columns differ, a length is not on 1..time, or only lengths could tell where
            sequences end.
    """
    parts = list(x) if isinstance(x, list | tuple) else list(_cube(x))
    if lengths is None and not isinstance(x, list | tuple):
        _refuse_padding(parts)
    names = _names(parts)
    tables = [_table(number, part, names) for number, part in enumerate(parts)]
    width = tables[0].shape[1] if tables else 0
    for number, table in enumerate(tables):
        if table.shape[1] != width:
            raise DataError(
                f"X, sequence {number}: a step has {table.shape[1]} features; of the first sequence {width}"
            )
    if lengths is not None:
        tables = [table[:count] for table, count in zip(tables, checked_lengths(lengths, tables), strict=True)]
    return tables, names or tuple(f"feature_{place}" for place in range(width))


def plain_array(values: Any) -> np.ndarray:
    """Return numbers of NumPy, torch, pandas or polars as a NumPy array.

    Args:
        values: Anything that NumPy takes, or a tensor on any device.

    Raises:
        DataError: Rows of it have different lengths.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.double() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"no array of values: {_line(error)}") from error
    if array.dtype.kind in "US" and not hasattr(values, "dtype"):  # NumPy makes text of numbers beside text
        return np.asarray(values, dtype=object)
    return array


def checked_lengths(lengths: Any, tables: Sequence[np.ndarray]) -> list[int]:
    """Return how many steps of each sequence are real.

    Args:
        lengths: Whole numbers, (sequence,).
        tables: The sequences, padded.

    Raises:
        DataError: They are none, or not on 1..time.
    """
    counts = plain_array(lengths)
    if counts.shape != (len(tables),) or counts.dtype.kind not in "iu":
        raise DataError(f"lengths are {counts.dtype} {counts.shape}; must be integers, ({len(tables)},)")
    for number, (count, table) in enumerate(zip(counts.tolist(), tables, strict=True)):
        if not 1 <= count <= len(table):
            raise DataError(f"lengths must be on 1..time; sequence {number} has {len(table)} steps, not {count}")
    return [int(count) for count in counts]


def _cube(x: Any) -> np.ndarray:
    array = plain_array(x)
    if array.ndim not in {2, 3}:
        raise DataError(f"X is {array.dtype} {array.shape}; must be (sequence, time) or (sequence, time, feature)")
    return array[..., None] if array.ndim == 2 else array


def _refuse_padding(parts: Sequence[np.ndarray]) -> None:
    """NaN in all of the last steps of an array is most often no step at all."""
    for number, part in enumerate(parts):
        if len(part) > 1 and all(map(_is_nothing, part[-1].tolist())):
            raise DataError(f"X, sequence {number}: ends in steps without a value; give lengths, which say what is")


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _names(parts: Sequence[Any]) -> tuple[str, ...]:
    """The columns of the first sequence, if it is a table with names."""
    columns = getattr(parts[0], "columns", None) if parts else None
    return () if columns is None else tuple(map(str, columns))


def _table(number: int, part: Any, names: tuple[str, ...]) -> np.ndarray:
    own = _names([part])
    if sorted(own) != sorted(names):
        had = ", ".join(own) or "no names of columns"
        raise DataError(f"X, sequence {number}: has {had}; the first sequence has {', '.join(names) or 'none'}")
    table = plain_array(part[list(names)] if own != names else part)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2:
        raise DataError(f"X, sequence {number}: is {table.dtype} {table.shape}; must be (time,) or (time, feature)")
    return table
