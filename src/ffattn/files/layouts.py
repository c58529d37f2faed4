"""From a table to sequences: which rows belong together, which columns are features, and which are of a sequence."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ffattn.errors import DataError
from ffattn.files.tables import read_table

WORDS, CHARACTERS = "words", "characters"
TOKENS = (WORDS, CHARACTERS)
_STEP = re.compile(r"(.*?)[_.]?(\d+)")  # a column of the wide form: a name and the number of a step


@dataclass(frozen=True)
class Layout:
    """What the columns of a file are.

    Attributes:
        id: The column that tells which sequence a row belongs to; none where each row is a whole sequence.
        time: The column by which the steps of a sequence are ordered; none for the order of the file.
        features: The columns that are inputs; none for all that nothing else is said about.
        of_sequence: Columns with one value for each sequence: targets, groups, splits.
        optional: Those of them that may be absent.
        texts: Columns that hold text in a file of CSV, whatever their values look like; the ids always do.
        tokens: What the steps of a text are, one of `TOKENS`.
    """

    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    of_sequence: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    tokens: str = WORDS

    @property
    def text_columns(self) -> tuple[str, ...]:
        """`texts`, and the ids, unless they are also a time or of each sequence, and so may be numbers."""
        is_name = self.id is not None and self.id not in {self.time, *self.of_sequence, *self.optional}
        return (*self.texts, self.id) if is_name and self.id is not None else self.texts

    @property
    def known(self) -> set[str]:
        """All columns with a role other than that of a feature."""
        return {name for name in (self.id, self.time, *self.of_sequence, *self.optional) if name}


@dataclass(frozen=True)
class Raw:
    """Sequences as they stand in a file.

    Attributes:
        path: The file.
        ids: What each sequence is called: its id, or the number of its row, from 1.
        offsets: Where each sequence starts among all steps, and the end, (sequence + 1,).
        features: For each feature a value for each step: float64 with NaN where none is, or text with None.
        columns: For each of `Layout.of_sequence` that is there a value for each sequence, likewise.
        rows: The row of the file, from 1, that each step comes from.
        used: The columns that features were read from.
        starts: The time of the first step of each sequence; nothing without a column of times.
        are_words: Whether features are the words or characters of texts.
    """

    path: Path
    ids: np.ndarray
    offsets: np.ndarray
    features: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    rows: np.ndarray
    used: tuple[str, ...]
    starts: np.ndarray | None = None
    are_words: bool = False

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """How many steps each sequence has."""
        return np.diff(self.offsets)

    def where(self, step: int, column: str) -> str:
        """A value of a step in words, for a message."""
        return f"{self.path}, row {self.rows[step]}, column {column}"

    def at(self, sequence: int, column: str) -> str:
        """A value of a sequence in words, for a message."""
        return f"{self.path}, sequence {self.ids[sequence]}, column {column}"


class Rows(NamedTuple):
    """Rows of a file.

    Attributes:
        path: The file.
        table: Its columns, a pyarrow table.
        first: How many rows of the file stand before these.
    """

    path: Path
    table: Any
    first: int = 0

    def where(self, row: int, column: str) -> str:
        """A value in words, for a message."""
        return f"{self.path}, row {self.first + row + 1}, column {column}"


def read(path: Path, layout: Layout, has_empty: bool = False) -> Raw:
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
    return arrange(Rows(path, read_table(path, layout.text_columns)), layout, has_empty)


def arrange(rows: Rows, layout: Layout, has_empty: bool = False) -> Raw:
    """The sequences that rows of a file make up (see `read`).

    Args:
        rows: Rows, of which none belongs to a sequence that also has others.
        layout: What their columns are.
        has_empty: Whether sequences may have no steps.

    Raises:
        DataError: A column is missing, or a sequence has no steps.
    """
    path, table, _ = rows
    needed = [name for name in (layout.id, layout.time, *layout.of_sequence, *layout.features) if name]
    require_columns(path, table, needed)
    features = list(layout.features) or [name for name in table.column_names if name not in layout.known]
    if not features:
        raise DataError(f"{path}: has no column that could be a feature")
    if layout.id is not None:
        return _long(rows, layout, features)
    raw = _rows(rows, layout, features)
    if not has_empty and (empty := np.flatnonzero(raw.lengths == 0)).size:
        raise DataError(f"{path}, row {raw.ids[empty[0]]}: a sequence of no steps")
    return raw


def require_columns(path: Path, table: Any, names: list[str]) -> None:
    """Refuse a table that lacks a column.

    Args:
        path: The file that it is from.
        table: A pyarrow table.
        names: What is needed.

    Raises:
        DataError: Names the first column that is missing, and those that there are.
    """
    for name in names:
        if name not in table.column_names:
            raise DataError(f"{path}: has no column {name}; it has {_some(table.column_names)}")


def _some(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _long(rows: Rows, layout: Layout, features: list[str]) -> Raw:
    """A row for each step."""
    path, table, before = rows
    codes, names = codes_of(rows, str(layout.id))
    times = None if layout.time is None else _times(rows, layout.time)
    order: Any = np.argsort(codes, kind="stable") if times is None else np.lexsort((times, codes))
    row_numbers = before + order + 1
    if (np.diff(order) == 1).all():
        order = slice(None)  # a file in order is not copied
    counts = np.bincount(codes, minlength=len(names))
    offsets = np.concatenate(([0], np.cumsum(counts)))
    inputs = {name: _values(path, table, name)[order] for name in features}
    starts = None if times is None else times[order][offsets[:-1]]
    raw = Raw(path, names, offsets, inputs, {}, row_numbers, tuple(features), starts)
    for name in _present(table, layout):
        raw.columns[name] = _constant(raw, name, _values(path, table, name)[order])
    return raw


def _present(table: Any, layout: Layout) -> list[str]:
    return [*layout.of_sequence, *(name for name in layout.optional if name in table.column_names)]


def codes_of(rows: Rows, name: str) -> tuple[np.ndarray, np.ndarray]:
    """For each row the number of its sequence, and the sequences' names, in the order in which they come.

    Args:
        rows: Rows of a file.
        name: The column of ids.

    Raises:
        DataError: A row has no id.
    """
    column = _complete(rows, name, "no id")
    encoded = column.dictionary_encode()
    names = np.array([str(value) for value in encoded.dictionary.to_pylist()], dtype=object)
    return encoded.indices.to_numpy().astype(np.int64), names


def _complete(rows: Rows, name: str, problem: str) -> Any:
    column = rows.table[name].combine_chunks()
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{rows.where(row, name)}: {problem}")
    return column


def _times(rows: Rows, name: str) -> np.ndarray:
    import pyarrow as pa

    path, table, _ = rows
    column = _complete(rows, name, "no time")
    if pa.types.is_temporal(column.type):
        whole = pa.int32() if column.type.bit_width == 32 else pa.int64()
        return np.asarray(column.cast(whole).to_numpy(zero_copy_only=False))
    values = _values(path, table, name)
    if values.dtype == object:
        raise DataError(
            f"{path}, column {name}: holds text, not times; write dates as 2024-03-01 or 2024-03-01 12:30:00"
        )
    return values


def _constant(raw: Raw, name: str, values: np.ndarray) -> np.ndarray:
    """One value for each sequence, which all its rows must have."""
    first = values[raw.offsets[:-1]]
    expected = np.repeat(first, raw.lengths)
    same = values == expected
    if values.dtype != object:
        same |= np.isnan(values) & np.isnan(expected)
    if not same.all():
        step = int(np.flatnonzero(~same)[0])
        raise DataError(
            f"{raw.where(step, name)}: {values[step]}, and {expected[step]} in another row of the same sequence; must "
            "be the same in all of them"
        )
    return np.asarray(first)


def _rows(rows: Rows, layout: Layout, features: list[str]) -> Raw:
    """A row for each sequence."""
    import pyarrow as pa

    path, table, _ = rows
    lists = [name for name in features if _is_list(table[name].type)]
    texts = [name for name in features if pa.types.is_string(table[name].type)]
    columns = {name: _values(path, table, name) for name in _present(table, layout)}
    if lists:
        if layout.features and lists != features:
            odd = next(name for name in features if name not in lists)
            raise DataError(f"{path}, column {odd}: must hold a list for each sequence, as column {lists[0]} does")
        raw = _nested(rows, lists)
    elif texts and len(features) == 1:
        raw = _words(rows, texts[0], layout.tokens)
    elif texts:
        raise DataError(
            f"{path}, column {texts[0]}: holds text; name the column that tells sequences apart with id=COLUMN if each "
            f"row is a step, or choose features=[...]"
        )
    else:
        raw = _wide(rows, features)
    return replace(raw, columns=columns)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _nested(rows: Rows, features: list[str]) -> Raw:
    path, table, _ = rows
    inputs, offsets = {}, None
    for name in features:
        column = table[name].combine_chunks()
        counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        own = np.concatenate(([0], np.cumsum(counts)))
        if offsets is not None and (wrong := np.flatnonzero(np.diff(own) != np.diff(offsets))).size:
            row = int(wrong[0])
            raise DataError(
                f"{rows.where(row, name)}: {counts[row]} steps, and {np.diff(offsets)[row]} in {features[0]}"
            )
        offsets = own
        inputs[name] = _array(path, name, column.flatten())
    assert offsets is not None
    return _by_rows(rows, offsets, inputs, features)


def _by_rows(
    rows: Rows, offsets: np.ndarray, inputs: dict[str, np.ndarray], used: list[str], are_words: bool = False
) -> Raw:
    numbers = rows.first + np.arange(1, len(offsets))
    ids = np.array([str(number) for number in numbers], dtype=object)
    return Raw(
        rows.path, ids, offsets, inputs, {}, np.repeat(numbers, np.diff(offsets)), tuple(used), are_words=are_words
    )


def _words(rows: Rows, name: str, tokens: str) -> Raw:
    """Lower-case words and numbers in the order of the text; or its characters, as they are, without white space."""
    given = [text or "" for text in rows.table[name].to_pylist()]
    if tokens == CHARACTERS:
        texts = [list("".join(text.split())) for text in given]
    else:
        texts = [re.findall(r"\w+(?:'\w+)?", text.lower()) for text in given]
    offsets = np.concatenate(([0], np.cumsum([len(words) for words in texts])))
    words = np.array([word for words in texts for word in words], dtype=object)
    return _by_rows(rows, offsets, {name: words}, [name], are_words=True)


def _wide(rows: Rows, names: list[str]) -> Raw:
    path, table, _ = rows
    groups = _groups(names)
    values = np.stack(
        [np.stack([_values(path, table, name) for name in steps], axis=1) for steps in groups.values()], axis=2
    )
    is_there = ~np.isnan(values).all(axis=2)
    time = values.shape[1]
    lengths = np.where(is_there.any(axis=1), time - np.argmax(is_there[:, ::-1], axis=1), 0)
    is_real = np.arange(time) < lengths[:, None]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return _by_rows(rows, offsets, {name: values[..., i][is_real] for i, name in enumerate(groups)}, names)


def _groups(names: list[str]) -> dict[str, list[str]]:
    """The columns of each feature, in the order of their numbers; of a single one if they are not numbered alike."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        found = _STEP.fullmatch(name)
        if found is None:
            return {"value": names}
        groups.setdefault(found[1] or "value", []).append((int(found[2]), name))
    ordered = {prefix: sorted(steps) for prefix, steps in groups.items()}
    numbers = {tuple(number for number, _ in steps) for steps in ordered.values()}
    return (
        {prefix: [name for _, name in steps] for prefix, steps in ordered.items()}
        if len(numbers) == 1
        else {"value": names}
    )


def _values(path: Path, table: Any, name: str) -> np.ndarray:
    """A column as float64 or text."""
    return _array(path, name, table[name].combine_chunks())


def _array(path: Path, name: str, column: Any) -> np.ndarray:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
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
