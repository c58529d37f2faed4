"""From a file to sequences."""

from pathlib import Path

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import Layout, TableBlock, require_columns
from ffattn.files.long_form import arrange_steps
from ffattn.files.row_form import arrange_rows
from ffattn.files.sequences import RawSequences
from ffattn.files.tables import read_table


def read_sequences(path: Path, layout: Layout, has_empty: bool = False) -> RawSequences:
    """Read the sequences of a file.

    Long form, if there is a column of ids: a row for each step. Otherwise a row for each sequence: with lists of equal
    lengths in the columns of features; or with text in the only one, whose words or characters are the steps; or, in
    wide form, with a number in each column, which are the steps in their order (of several features, if columns are
    called a_0, a_1, ..., b_0, b_1, ...), those at the end being without a value where a sequence is shorter.

    Args:
        path: The file.
        layout: What its columns are.
        has_empty: Whether sequences may have no steps.

    Returns:
        The sequences, in the order in which they begin in the file.

    Raises:
        DataError: The file cannot be read, lacks a column, or has a sequence without steps.
    """
    return arrange(TableBlock(path, read_table(path, layout.reading_rule)), layout, has_empty)


def arrange(block: TableBlock, layout: Layout, has_empty: bool = False) -> RawSequences:
    """Return the sequences that rows of a file make up (see `read_sequences`).

    Args:
        block: Rows, of which none belongs to a sequence that also has others.
        layout: What their columns are.
        has_empty: Whether sequences may have no steps.

    Raises:
        DataError: A column is missing, or a sequence has no steps.
    """
    path, table, _ = block
    needed = [name for name in (layout.id, layout.time, *layout.of_sequence, *layout.features) if name]
    require_columns(path, table, needed)
    features = list(layout.features) or [name for name in table.column_names if name not in layout.known]
    if not features:
        raise DataError(f"{path}: has no column that could be a feature")
    if layout.id is not None:
        return arrange_steps(block, layout, features)
    raw = arrange_rows(block, layout, features)
    if not has_empty and (empty := np.flatnonzero(raw.lengths == 0)).size:
        raise DataError(f"{path}, row {raw.ids[empty[0]]}: a sequence of no steps")
    return raw
