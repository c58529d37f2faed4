"""The layout that was understood in training, demanded of another file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ffattn.errors import DataError
from ffattn.files.layouts import WIDE, Layout, LeftOut, require_columns, some_of
from ffattn.files.step_names import AmbiguousNamesError, family_of, group_steps

NOT_IN_TRAINING = "not in training"


def match_layout(path: Path, table: Any, layout: Layout) -> Layout:
    """Return the layout of another file of the same kind: its columns are found by their names.

    In the wide form a file may have more steps than training had, if it has them of every feature. Other columns that
    training did not have are left out.

    Args:
        path: The file, for messages.
        table: A pyarrow table of it, or of its first rows.
        layout: What was understood in training.

    Raises:
        DataError: A column is missing, or columns look like steps but not like further ones.
    """
    columns = [column for _, columns in layout.steps for column in columns] or list(layout.features)
    require_columns(path, table, [name for name in (*layout.ids, layout.time, *layout.of_sequence, *columns) if name])
    unused = {*layout.known, *layout.leave_out, *columns, *(column.name for column in layout.left_out)}
    new = [name for name in table.column_names if name not in unused]
    further = _further_steps(columns, new) if layout.form == WIDE else []
    ignored = tuple(LeftOut(name, NOT_IN_TRAINING) for name in new if name not in further)
    found = replace(layout, left_out=(*layout.left_out, *ignored))
    return _extend(path, found, columns, further) if further else found


def _further_steps(columns: list[str], names: list[str]) -> list[str]:
    """Columns that are called as those of training are, apart from the number of the step."""
    families = {family for column in columns if (family := family_of(column)) is not None}
    return [name for name in names if family_of(name) in families]


def _extend(path: Path, layout: Layout, columns: list[str], further: list[str]) -> Layout:
    try:
        groups = group_steps([*columns, *further])
    except AmbiguousNamesError as error:
        raise DataError(
            f"{path}: has columns {some_of(further, 6)}, which training did not have, and which are no steps at the "
            f"end of each feature; leave them out of the file ({error})"
        ) from error
    steps = tuple((feature, tuple(groups.get(feature, ()))) for feature, _ in layout.steps)
    for (feature, longer), (_, before) in zip(steps, layout.steps, strict=True):
        if longer[: len(before)] != before:
            raise DataError(
                f"{path}: has columns {some_of(further, 6)}, which training did not have, and which do not come after "
                f"the steps {before[0]} .. {before[-1]} of {feature}; leave them out of the file"
            )
    return replace(layout, steps=steps, features=tuple(column for _, longer in steps for column in longer))
