"""A file from its beginning to its end, some sequences at a time, so that it need not fit into memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import Layout, TableBlock, require_columns
from ffattn.files.long_form import codes_of
from ffattn.files.reading import arrange
from ffattn.files.sequences import RawSequences
from ffattn.files.tables import read_tables
from ffattn.files.values import is_text_type, texts_of


class ScatteredError(DataError):
    """Rows of a sequence stand so far apart that only the whole file tells what belongs to it."""


@dataclass(frozen=True)
class SequenceReader:
    """The sequences of a file, which may be without steps, in the order in which they begin.

    Attributes:
        path: A file of any form (see `read_sequences`).
        layout: What its columns are.
    """

    path: Path
    layout: Layout

    def __iter__(self) -> Iterator[RawSequences]:
        """Some sequences after the other: those of a few megabytes, or a single one; of a small file all of them.

        Raises:
            ScatteredError: A sequence comes again in another part of the file.
            DataError: The file cannot be read, or lacks a column.
        """
        ids = self.layout.ids
        tables = _by_sequences(self.path, self._tables(), ids) if ids else self._tables()
        seen: set[int] = set()
        first = 0
        for table in tables:
            raw = self._arranged(table, first)
            first += table.num_rows
            if ids:
                own = {hash(text) for text in raw.ids}
                if not own.isdisjoint(seen):
                    raise ScatteredError(f"{self.path}: the rows of a sequence stand apart, between those of others")
                seen |= own
            yield raw

    def head(self) -> Any:
        """Return a pyarrow table of the first rows, with all columns.

        Raises:
            DataError: The file cannot be read.
        """
        return next(read_tables(self.path, (), self.layout.reading_rule))

    def whole(self) -> RawSequences:
        """Return all of them, wherever their rows stand.

        Raises:
            DataError: As above.
        """
        return self._arranged(_concat_tables(list(self._tables())), 0)

    def _tables(self) -> Iterator[Any]:
        layout = self.layout
        needed = tuple(name for name in (*layout.ids, layout.time, *layout.features) if name)
        return read_tables(self.path, needed if layout.features else (), layout.reading_rule)

    def _arranged(self, table: Any, first: int) -> RawSequences:
        return arrange(TableBlock(self.path, table, first), self.layout, has_empty=True)


def _by_sequences(path: Path, tables: Iterator[Any], ids: tuple[str, ...]) -> Iterator[Any]:
    """Tables that end with the last row of a sequence."""
    kept: list[Any] = []  # rows of the sequence that may go on
    first = 0
    last = ""
    for table, following in pairwise(chain(tables, [None])):
        if following is None:
            yield _concat_tables([*kept, table])
            return
        require_columns(path, table, list(ids))
        codes, names = codes_of(TableBlock(path, table, first), ids)
        start = int(np.flatnonzero(np.diff(codes, prepend=-1))[-1])
        if start or names[codes[0]] != last:
            if before := [part for part in (*kept, table.slice(0, start)) if part.num_rows]:
                yield _concat_tables(before)
            kept = []
        kept.append(table.slice(start))
        first += table.num_rows
        last = names[codes[-1]]


def _concat_tables(tables: list[Any]) -> Any:
    """One below the other; as text, where a column is of kinds that have nothing else in common."""
    import pyarrow as pa

    kinds: dict[str, set[Any]] = {}
    for table in tables:
        for column in table.schema:
            kinds.setdefault(column.name, set()).add(column.type)
    mixed = [name for name, types in kinds.items() if len(types) > 1 and not _share_a_type(types)]
    return pa.concat_tables([_with_texts(table, mixed) for table in tables], promote_options="permissive")


def _share_a_type(types: set[Any]) -> bool:
    import pyarrow as pa

    is_text = any(is_text_type(kind) for kind in types)
    is_time = all(pa.types.is_timestamp(kind) or pa.types.is_null(kind) for kind in types)
    is_numeric = all(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind) for kind in types
    )
    return is_time or (is_numeric and types != {pa.int64(), pa.uint64()}) or (is_text and len(types - {pa.null()}) == 1)


def _with_texts(table: Any, names: list[str]) -> Any:
    import pyarrow as pa

    for name in set(names) & set(table.column_names):
        texts = pa.array(texts_of(table[name].combine_chunks()), pa.string())
        table = table.set_column(table.column_names.index(name), name, texts)
    return table
