"""What the columns of a file are, found out from their names and types: once, in training."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import AUTO, LISTS, LONG, TEXT, WIDE, Layout, LeftOut, require_columns, some_of, unread_of
from ffattn.files.list_texts import holds_list_texts
from ffattn.files.moments import refuse_rounding
from ffattn.files.notation import NO_NUMBER_AMONG_NUMBERS, other_notation
from ffattn.files.step_names import AmbiguousNamesError, group_steps
from ffattn.files.values import exact_column, holds_words, is_text_type, parse_numbers

_NAMELESS = re.compile(r"|Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
_ROW_NAMES = {"index", "id", "row", "rowid", "row_id", "rowname", "rownames", "row_name", "row_names", "level_0", "#"}
_COUNTERS = {*_ROW_NAMES, "X", "no", "No", "nr", "number", "obs", "record"}
_LEAST_ROWS = 20  # that count from 0 or 1 for a column of any other name to be a count of rows
_A_COUNT = "an index: it counts the rows; if it is a time, give task.time"
_HOLDS_NO_LIST = "no list, as the features are"


def understand(path: Path, table: Any, layout: Layout) -> Layout:
    """Return a layout that leaves nothing to be found out.

    Args:
        path: The file, for messages.
        table: A pyarrow table of the file, or of its first rows.
        layout: What is said of the columns.

    Returns:
        The layout with its form, features and steps, and with all columns that are not read.

    Raises:
        DataError: A column is missing, or the columns can be read in two ways.
    """
    of_steps = tuple(column for _, columns in layout.steps for column in columns)
    said = layout.features or of_steps
    needed = [*layout.ids, layout.time, *layout.of_sequence, *said, *layout.leave_out]
    require_columns(path, table, [name for name in needed if name])
    others = [name for name in table.column_names if name not in layout.known]
    if said:
        left_out = [LeftOut(name, "not in task.features") for name in others if name not in said]
    else:
        left_out = _unasked(table, layout, others)
    left_out += [LeftOut(name, reason) for name, reason in unread_of(table).items()]
    gone = {column.name for column in left_out}
    features = said or tuple(name for name in others if name not in gone)
    form = _form_of(path, table, layout, features)
    if form == LISTS and not said:
        plain = [name for name in features if not _holds_lists(table, name)]
        left_out += [LeftOut(name, _HOLDS_NO_LIST) for name in plain]
        features = tuple(name for name in features if name not in plain)
    if not features:
        raise DataError(f"{path}: has no column that could be a feature; it has {some_of(table.column_names)}")
    for name in features:
        refuse_rounding(table[name], f"{path}, column {name}")
    found = replace(layout, form=form, features=features, is_understood=True, left_out=tuple(left_out))
    return _with_steps(path, table, found, is_ordered=bool(said) or layout.form == WIDE) if form == WIDE else found


def _unasked(table: Any, layout: Layout, names: list[str]) -> list[LeftOut]:
    """Columns that are no features although nobody has said so; and those that somebody has."""
    left_out = [LeftOut(name, "task.leave_out") for name in names if name in layout.leave_out]
    for name in names:
        if name not in layout.leave_out and (reason := _index_reason(table, name)):
            left_out.append(LeftOut(name, reason))
    gone = {column.name for column in left_out}
    others = [name for name in names if name not in gone]
    counts = [name for name in others if _is_count(table, name, is_step=not layout.has_rows_of_steps)]
    if len(counts) < len(others):  # what is alone is a feature, for want of any other
        left_out += [LeftOut(name, _A_COUNT) for name in counts]
    return left_out


def _index_reason(table: Any, name: str) -> str:
    """Why a column is an index of rows, if its name says that it may be one."""
    if _NAMELESS.fullmatch(name.strip()):
        return "an index: it has no name"
    pandas = (table.schema.pandas_metadata or {}) if table.schema.metadata else {}
    if name in [column for column in pandas.get("index_columns", []) if isinstance(column, str)]:
        return "the index of pandas"
    column = table[name].combine_chunks()
    if _counts_rows(column) and (name in _COUNTERS or name.lower() in _ROW_NAMES):
        return "an index: it counts the rows"
    if name.lower() in _ROW_NAMES and _names_rows(column):
        return "an index: it names each row"
    return ""


def _is_count(table: Any, name: str, is_step: bool) -> bool:
    """Whether a column of any name counts the rows; in the wide form t1 may do so by chance, and is a step."""
    has_number = is_step and any(letter.isdigit() for letter in name)
    return table.num_rows >= _LEAST_ROWS and not has_number and _counts_rows(table[name].combine_chunks())


def _counts_rows(column: Any) -> bool:
    """Whether it is 0, 1, 2, ... or 1, 2, 3, ..."""
    import pyarrow as pa

    if (
        column.null_count
        or len(column) < 2
        or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type))
    ):
        return False
    values = column.to_numpy(zero_copy_only=False)
    return values[0] in (0, 1) and np.array_equal(values, np.arange(len(values)) + values[0])


def _names_rows(column: Any) -> bool:
    """Whether it has another whole number, or text, in each row."""
    import pyarrow as pa

    is_name = pa.types.is_integer(column.type) or is_text_type(column.type)
    return bool(is_name and len(column) > 1 and len(column.unique()) == len(column))


def _form_of(path: Path, table: Any, layout: Layout, features: tuple[str, ...]) -> str:
    lists = [
        name for name in features if layout.form != TEXT and name not in layout.texts and _holds_lists(table, name)
    ]
    if layout.has_rows_of_steps:
        if lists:
            raise DataError(
                f"{path}, column {lists[0]}: holds a list in each row, so that a row is a sequence and no step; leave "
                "id and windows out, or write a row for each step"
            )
        if layout.form not in {AUTO, LONG}:
            raise DataError(
                f"{path}: task.form={layout.form} has no column of ids, as each row is a sequence; leave id out"
            )
        return LONG
    if layout.form == LONG:
        raise DataError(f"{path}: task.form=long needs the column that tells sequences apart; give task.id=COLUMN")
    if layout.form == WIDE or layout.steps:
        return WIDE
    texts = [name for name in features if name in layout.texts or holds_words(path, table, name)]
    if lists or layout.form == LISTS:
        if (layout.features or not lists) and len(lists) < len(features):
            odd = next(name for name in features if name not in lists)
            others = f", as column {lists[0]} does" if lists else "; if each row is a step, give id=COLUMN"
            raise DataError(f"{path}, column {odd}: must hold a list for each sequence{others}")
        return LISTS
    if layout.form == TEXT or (texts and len(features) == 1):
        if len(features) != 1 or not texts:
            raise DataError(f"{path}: a text needs a single column of text; give task.features=[COLUMN]")
        return TEXT
    return WIDE


def _with_steps(path: Path, table: Any, layout: Layout, is_ordered: bool) -> Layout:
    """The wide form with the columns of each feature."""
    _refuse_no_numbers(path, table, layout.features)
    if layout.steps:
        steps = {feature: list(columns) for feature, columns in layout.steps}
        if len({len(columns) for columns in steps.values()}) > 1:
            counts = ", ".join(f"{feature} {len(columns)}" for feature, columns in steps.items())
            raise DataError(f"{path}: task.features must have as many columns for each feature; there are {counts}")
    else:
        try:
            steps = group_steps(list(layout.features), is_ordered)
        except AmbiguousNamesError as error:
            raise DataError(f"{path}: {error}") from error
    return replace(layout, steps=tuple((feature, tuple(columns)) for feature, columns in steps.items()))


def _refuse_no_numbers(path: Path, table: Any, names: tuple[str, ...]) -> None:
    import pyarrow as pa

    for name in names:
        kind = table[name].type
        if is_text_type(kind):
            _refuse_words(path, table, name)
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null, is_text_type)
        if not any(test(kind) for test in tests):
            raise DataError(
                f"{path}, column {name}: holds {kind}, which is neither numbers nor text; if it is no step, give "
                f"task.leave_out=[{name}]"
            )


def _refuse_words(path: Path, table: Any, name: str) -> None:
    """Refuse a column of steps in which something is no number, by what it looks like."""
    column = exact_column(path, table, name)
    is_text = parse_numbers(column).is_text
    if not is_text.any():
        return
    row = int(np.argmax(is_text))
    where = f"{path}, row {row + 1}, column {name}: {column[row].as_py()!r}"
    if advice := other_notation(set(column.drop_null().to_pylist())):
        raise DataError(f"{where} looks like a number or a time, and {advice}")
    if 2 * is_text.sum() < len(column) - column.null_count:
        raise DataError(f"{where} {NO_NUMBER_AMONG_NUMBERS}")
    raise DataError(
        f"{path}, column {name}: holds text; name the column that tells sequences apart with id=COLUMN if each "
        f"row is a step, choose features=[...], or give task.leave_out=[{name}]"
    )


def _holds_lists(table: Any, name: str) -> bool:
    return is_list(table[name].type) or holds_list_texts(table[name].combine_chunks())


def is_list(kind: Any) -> bool:
    """Return whether a type of pyarrow is a list.

    Args:
        kind: The type.
    """
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
