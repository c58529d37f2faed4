"""From a file to sequences."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import LONG, Layout, TableBlock, require_columns
from ffattn.files.long_form import arrange_steps
from ffattn.files.matching import match_layout
from ffattn.files.row_form import arrange_rows
from ffattn.files.sequences import RawSequences
from ffattn.files.tables import read_table
from ffattn.files.understanding import understand
from ffattn.files.windows import cut_windows


def read_sequences(path: Path, layout: Layout, has_empty: bool = False) -> RawSequences:
    """Read the sequences of a file.

    Long form, if there is a column of ids: a row for each step. Otherwise a row for each sequence: with lists of equal
    lengths in the columns of features; or with text in the only one, whose words or characters are the steps; or, in
    wide form, with a number in each column, which are the steps in their order (of several features, if columns are
    called a_0, a_1, ..., b_0, b_1, ...), those at the end being without a value where a sequence is shorter.

    Args:
        path: The file.
        layout: What its columns are: as somebody says, or as they were understood in training; then the file must have
            the same columns, in any order.
        has_empty: Whether sequences may have no steps.

    Returns:
        The sequences, in the order in which they begin in the file.

    Raises:
        DataError: The file cannot be read, lacks a column, can be read in two ways, or has a sequence without steps.
    """
    table = read_table(path, layout.reading_rule)
    found = match_layout(path, table, layout) if layout.is_understood else understand(path, table, layout)
    return arrange(TableBlock(path, table), found, has_empty)


def arrange(block: TableBlock, layout: Layout, has_empty: bool = False) -> RawSequences:
    """Return the sequences that rows of a file make up (see `read_sequences`).

    Args:
        block: Rows, of which none belongs to a sequence that also has others.
        layout: What their columns are; it is found out from these rows if it is not understood yet.
        has_empty: Whether sequences may have no steps.

    Raises:
        DataError: A column is missing, or a sequence has no steps.
    """
    path, table, _ = block
    found = layout if layout.is_understood else understand(path, table, layout)
    columns = (*found.ids, found.time, *found.of_sequence, *found.features)
    require_columns(path, table, [name for name in columns if name])
    if found.form == LONG:
        raw = arrange_steps(block, found)
        return replace(raw if found.windows is None else cut_windows(raw, found), layout=found)
    raw = replace(arrange_rows(block, found), layout=found)
    if not has_empty and (empty := np.flatnonzero(raw.lengths == 0)).size:
        raise DataError(f"{path}, row {raw.ids[empty[0]]}: a sequence of no steps")
    return raw
