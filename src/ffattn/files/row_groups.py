"""A Parquet file that need not fit into memory: its sequences, a row group's worth at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import Layout, TableBlock
from ffattn.files.long_form import codes_of
from ffattn.files.matching import match_layout
from ffattn.files.reading import arrange
from ffattn.files.sequences import RawSequences
from ffattn.files.tables import open_parquet
from ffattn.files.understanding import understand
from ffattn.system.lazy import Int


@dataclass(frozen=True)
class ParquetPieces:
    """A file in pieces. A piece has the sequences that begin in one row group.

    Attributes:
        path: The file.
        layout: What its columns are.
        bounds: The first row of each piece, and the number of rows, (piece + 1,).
        index: All sequences without their features.
        lengths: How many steps each of them has.
        counts: How many sequences each piece has.
    """

    path: Path
    layout: Layout
    bounds: Int[np.ndarray, " end"]
    index: RawSequences
    lengths: Int[np.ndarray, " sequence"]
    counts: Int[np.ndarray, " piece"]

    def __iter__(self) -> Iterator[RawSequences]:
        """The pieces, one after the other."""
        file = open_parquet(self.path)
        return (_read_piece(file, self.path, self.layout, self.bounds, piece) for piece in range(len(self.counts)))

    def read(self, piece: int) -> RawSequences:
        """Return the sequences of a piece.

        Args:
            piece: Its number.
        """
        return _read_piece(open_parquet(self.path), self.path, self.layout, self.bounds, piece)


def open_pieces(path: Path, layout: Layout) -> ParquetPieces:
    """Find the pieces of a file, and what is known of each sequence beside its features.

    Args:
        path: A Parquet file.
        layout: What its columns are; with a column of ids the rows of a sequence must stand together.

    Raises:
        DataError: The file cannot be read, lacks a column, or its sequences are not as they should be.
    """
    file = open_parquet(path)
    first_rows = file.read_row_group(0, use_threads=False)
    layout = match_layout(path, first_rows, layout) if layout.is_understood else understand(path, first_rows, layout)
    bounds = _bounds(file, path, layout.ids)
    shells = []
    lengths = []
    for piece in range(len(bounds) - 1):
        raw = _read_piece(file, path, layout, bounds, piece)
        lengths.append(raw.lengths)
        shells.append(_without_steps(raw))
    counts = np.array([len(shell) for shell in shells])
    return ParquetPieces(path, layout, bounds, _concat_shells(shells), np.concatenate(lengths), counts)


def _without_steps(raw: RawSequences) -> RawSequences:
    """The sequences without their features: new arrays, as a view would keep all of the memory."""
    return replace(raw, features={}, rows=np.zeros(0, np.int64), offsets=np.zeros(len(raw) + 1, np.int64))


def _concat_shells(shells: list[RawSequences]) -> RawSequences:
    import pyarrow as pa

    first = shells[0]
    ids = np.concatenate([shell.ids for shell in shells])
    columns = {name: pa.concat_arrays([shell.columns[name] for shell in shells]) for name in first.columns}
    starts = None if first.starts is None else np.concatenate([s.starts for s in shells if s.starts is not None])
    offsets = np.zeros(len(ids) + 1, np.int64)
    repeated = sum(shell.repeated for shell in shells)
    return replace(first, ids=ids, columns=columns, starts=starts, offsets=offsets, repeated=repeated)


def _read_piece(file: Any, path: Path, layout: Layout, bounds: Int[np.ndarray, " end"], piece: int) -> RawSequences:
    first = int(bounds[piece])
    stop = int(bounds[piece + 1])
    groups = _group_ends(file)
    begin = np.searchsorted(groups, first, side="right")
    end = np.searchsorted(groups, stop, side="left")
    columns = sorted({*layout.known & set(file.schema_arrow.names), *layout.features}) if layout.features else None
    table = file.read_row_groups(list(range(begin, end + 1)), columns=columns, use_threads=False)
    before = int(groups[begin - 1]) if begin else 0
    return arrange(TableBlock(path, table.slice(first - before, stop - first), first), layout)


def _group_ends(file: Any) -> Int[np.ndarray, " group"]:
    """The row after the last one of each row group."""
    return np.cumsum([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)])


def _bounds(file: Any, path: Path, ids: tuple[str, ...]) -> Int[np.ndarray, " end"]:
    """Where pieces begin: with the first sequence that begins in a row group; and the number of rows."""
    if not ids:
        return np.unique(np.concatenate(([0], _group_ends(file))))
    bounds: list[int] = []
    seen: set[int] = set()
    before = 0
    last = None
    for group in range(file.num_row_groups):
        block = TableBlock(path, file.read_row_group(group, columns=list(ids)), before)
        codes, names = codes_of(block, ids)
        changes = np.flatnonzero(np.diff(codes, prepend=-1))
        begins = [row for row in changes.tolist() if row or names[codes[row]] != last]
        for row in begins:
            _refuse_again(block, row, " and ".join(ids), names[codes[row]], seen)
        bounds += [before + begins[0]] if begins else []
        before += len(codes)
        last = names[codes[-1]] if len(codes) else last
    return np.array([*bounds, before])


def _refuse_again(block: TableBlock, row: int, name: str, text: str, seen: set[int]) -> None:
    """Refuse a sequence that begins a second time; `seen` has the hashes of those before."""
    if hash(text) in seen:
        raise DataError(
            f"{block.where(row, name)}: {text} again, after other sequences; a file that is read in pieces must "
            f"be sorted by {name}"
        )
    seen.add(hash(text))
