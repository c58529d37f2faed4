"""Columns with a value for each sequence, as numbers and as classes."""

import numpy as np

from ffattn.errors import DataError
from ffattn.files.sequences import RawSequences
from ffattn.files.values import ParsedNumbers, parse_numbers, texts_of
from ffattn.system.lazy import Float


def numbers_of(raw: RawSequences, name: str) -> Float[np.ndarray, " sequence"]:
    """Return a column of the sequences as numbers, all of which are there.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: A value is missing, not finite, or text.
    """
    numbers = _target_numbers(raw, name).numbers
    if (bad := np.flatnonzero(~np.isfinite(numbers))).size:
        shown = texts_of(raw.columns[name].slice(int(bad[0]), 1))[0]
        given = "" if shown is None else f"; it has {shown}"
        raise DataError(f"{raw.at(int(bad[0]), name)}: no finite number{given}")
    return numbers


def _target_numbers(raw: RawSequences, name: str) -> ParsedNumbers:
    import pyarrow as pa

    column = raw.columns[name]
    if pa.types.is_temporal(column.type):
        raise DataError(f"{raw.path}, column {name}: holds times, which are neither numbers nor classes")
    return parse_numbers(column)


def are_numbers(raw: RawSequences, name: str) -> bool:
    """Return whether a column of the sequences holds numbers, as such or as text; true and false are none.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: It holds times.
    """
    return not _target_numbers(raw, name).is_text.any()


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
