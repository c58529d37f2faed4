"""Files with a row for each step, and a column of ids that tells sequences apart."""

from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import Layout, TableBlock
from ffattn.files.sequences import RawSequences
from ffattn.files.times import sort_keys
from ffattn.files.values import column_values, exact_column, same_values, texts_of
from ffattn.system.lazy import Int


def arrange_steps(block: TableBlock, layout: Layout) -> RawSequences:
    """Return the sequences that rows make up, each row a step.

    Args:
        block: Rows, of which none belongs to a sequence that also has others.
        layout: What their columns are, understood. Without a column of ids all rows are one series.

    Raises:
        DataError: A row has no id or no time, or a column of the sequence changes within one.
    """
    path, table, before = block
    codes, names = codes_of(block, layout.ids)
    times = None if layout.time is None else _times(block, layout.time)
    order: Any = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
    row_numbers = before + order + 1
    if (np.diff(order) == 1).all():
        order = slice(None)  # a file in order is not copied
    counts = np.bincount(codes, minlength=len(names))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    inputs = {name: column_values(path, table, name)[order] for name in layout.features}
    starts = None if times is None else times[order][offsets[:-1]]
    repeated = 0 if times is None else _count_repeated(codes[order], times[order])
    raw = RawSequences(path, names, offsets, inputs, {}, row_numbers, layout.features, starts, repeated=repeated)
    for name in layout.of_sequence_in(table):
        values = exact_column(path, table, name)
        values = values if isinstance(order, slice) else values.take(order)
        raw.columns[name] = values if layout.windows is not None else _one_a_sequence(raw, name, values)
    return raw


def _count_repeated(codes: np.ndarray, times: np.ndarray) -> int:
    """How many rows, in their order, have the sequence and the time of the one before."""
    return int(((codes[1:] == codes[:-1]) & (times[1:] == times[:-1])).sum())


def codes_of(block: TableBlock, ids: tuple[str, ...]) -> tuple[Int[np.ndarray, " row"], np.ndarray]:
    """Return for each row the number of its sequence, and the sequences' names, in the order in which they come.

    Args:
        block: Rows of a file.
        ids: The column of ids; or several, whose values make up a name as in `north/2024-01`; or none for one sequence.

    Raises:
        DataError: A row has no id, or two sequences would have the same name.
    """
    if not ids:
        return np.zeros(len(block.table), np.int64), np.array([""], dtype=object)
    codes, names = _codes_of_column(block, ids[0])
    for name in ids[1:]:
        others, parts = _codes_of_column(block, name)
        keys = codes * len(parts) + others
        pairs, first, members = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first)  # that in which they come
        codes = np.argsort(order)[members]
        names = np.array([f"{names[pair // len(parts)]}/{parts[pair % len(parts)]}" for pair in pairs[order]], object)
    if len(ids) > 1 and len(set(names)) < len(names):
        raise DataError(f"{block.path}: columns {', '.join(ids)} give two sequences the same name, joined by /")
    return codes, names


def _codes_of_column(block: TableBlock, name: str) -> tuple[Int[np.ndarray, " row"], np.ndarray]:
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
        own = texts_of(values.slice(step, 1))[0]
        other = texts_of(expected.slice(step, 1))[0]
        raise DataError(
            f"{raw.where(step, name)}: {own}, and {other} in another row of the same sequence; must be the same in "
            "all of them"
        )
    return values.take(first)
