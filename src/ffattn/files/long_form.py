"""Files with a row for each step, and a column of ids that tells sequences apart."""

from typing import Any

import numpy as np
from jaxtyping import Int

from ffattn.errors import DataError
from ffattn.files.layouts import Layout, TableBlock
from ffattn.files.sequences import RawSequences
from ffattn.files.times import sort_keys
from ffattn.files.values import column_values, exact_column, same_values, texts_of


def arrange_steps(block: TableBlock, layout: Layout, features: list[str]) -> RawSequences:
    """Return the sequences that rows make up, each row a step.

    Args:
        block: Rows, of which none belongs to a sequence that also has others.
        layout: What their columns are, with a column of ids.
        features: The columns that are inputs.

    Raises:
        DataError: A row has no id or no time, or a column of the sequence changes within one.
    """
    path, table, before = block
    codes, names = codes_of(block, str(layout.id))
    times = None if layout.time is None else _times(block, layout.time)
    order: Any = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
    row_numbers = before + order + 1
    if (np.diff(order) == 1).all():
        order = slice(None)  # a file in order is not copied
    counts = np.bincount(codes, minlength=len(names))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    inputs = {name: column_values(path, table, name)[order] for name in features}
    starts = None if times is None else times[order][offsets[:-1]]
    raw = RawSequences(path, names, offsets, inputs, {}, row_numbers, tuple(features), starts)
    for name in layout.of_sequence_in(table):
        values = exact_column(path, table, name)
        raw.columns[name] = _one_a_sequence(raw, name, values if isinstance(order, slice) else values.take(order))
    return raw


def codes_of(block: TableBlock, name: str) -> tuple[Int[np.ndarray, " row"], np.ndarray]:
    """Return for each row the number of its sequence, and the sequences' names, in the order in which they come.

    Args:
        block: Rows of a file.
        name: The column of ids.

    Raises:
        DataError: A row has no id.
    """
    column = exact_column(block.path, block.table, name)
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{block.where(row, name)}: no id")
    encoded = column.dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), np.array(texts_of(encoded.dictionary), dtype=object)


def _times(block: TableBlock, name: str) -> np.ndarray:
    return sort_keys(exact_column(block.path, block.table, name), lambda row: block.where(row, name))


def _one_a_sequence(raw: RawSequences, name: str, values: Any) -> Any:
    """One value for each sequence, which all its rows must have."""
    first = raw.offsets[:-1]
    expected = values.take(np.repeat(first, raw.lengths))
    same = same_values(values, expected)
    if not same.all():
        step = int(np.flatnonzero(~same)[0])
        own, other = texts_of(values.slice(step, 1))[0], texts_of(expected.slice(step, 1))[0]
        raise DataError(
            f"{raw.where(step, name)}: {own}, and {other} in another row of the same sequence; must be the same in "
            "all of them"
        )
    return values.take(first)
