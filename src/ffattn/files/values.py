"""The values of a column: as arrays, as numbers, and as text."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ffattn.errors import DataError
from ffattn.files.sequences import RawSequences


class ParsedNumbers(NamedTuple):
    """Values of a column as numbers.

    Attributes:
        numbers: NaN where there is none.
        is_text: Which of the values are text that is no number.
    """

    numbers: Float[np.ndarray, " value"]
    is_text: Bool[np.ndarray, " value"]


def column_values(path: Path, table: Any, name: str) -> np.ndarray:
    """Return a column as float64 or text (see `to_array`).

    Args:
        path: The file, for messages.
        table: A pyarrow table.
        name: The column.
    """
    return to_array(path, name, table[name].combine_chunks())


def to_array(path: Path, name: str, column: Any) -> np.ndarray:
    """Return pyarrow values as float64 with NaN, or as text with None, where there is none.

    Args:
        path: The file, for messages.
        name: The column, likewise.
        column: A pyarrow array.

    Raises:
        DataError: The values are times, or of a type that is neither numbers nor text.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=object)
    if pa.types.is_boolean(kind):
        return np.array([None if value is None else str(value).lower() for value in column.to_pylist()], dtype=object)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if pa.types.is_temporal(kind):
        raise DataError(f"{path}, column {name}: holds times; name it as the time, or choose features=[...] without it")
    raise DataError(f"{path}, column {name}: holds {kind}, which is neither numbers nor text")


def is_number(text: str) -> bool:
    """Return whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def parse_numbers(column: np.ndarray) -> ParsedNumbers:
    """Return values as numbers, and which of them are text that is no number.

    Args:
        column: Values of a feature or of a column.
    """
    if column.dtype != object:
        return ParsedNumbers(column, np.zeros(len(column), dtype=bool))
    is_text = np.array([text is not None and not is_number(text) for text in column], dtype=bool)
    numbers = [np.nan if text is None or wrong else float(text) for text, wrong in zip(column, is_text, strict=True)]
    return ParsedNumbers(np.array(numbers, dtype=np.float64), is_text)


def texts_of(column: np.ndarray) -> list[str | None]:
    """Return values as text: whole numbers without a fraction, None where there is no value.

    Args:
        column: Values of a feature or of a column.
    """
    if column.dtype == object:
        return list(column)
    return [
        None if np.isnan(value) else f"{int(value)}" if value == int(value) else repr(value)
        for value in column.tolist()
    ]


def numbers_of(raw: RawSequences, name: str) -> Float[np.ndarray, " sequence"]:
    """Return a column of the sequences as numbers, all of which are there.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: A value is missing, not finite, or text.
    """
    numbers = parse_numbers(raw.columns[name]).numbers
    if (bad := np.flatnonzero(~np.isfinite(numbers))).size:
        raise DataError(f"{raw.at(int(bad[0]), name)}: no finite number")
    return numbers


def class_names(raw: RawSequences, name: str) -> list[str]:
    """Return the class of each sequence.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: One has none.
    """
    texts = texts_of(raw.columns[name])
    for sequence, text in enumerate(texts):
        if text is None:
            raise DataError(f"{raw.at(sequence, name)}: no class")
    return [str(text) for text in texts]
