"""What the columns of a file are: which tell sequences apart, which are features, and which are of a sequence."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ffattn.errors import DataError, SettingError
from ffattn.files.text_files import PLAIN, TextRule

WORDS = "words"
CHARACTERS = "characters"
TOKENS = (WORDS, CHARACTERS)


AUTO = "auto"
LONG = "long"
LISTS = "lists"
TEXT = "text"
WIDE = "wide"
FORMS = (AUTO, LONG, LISTS, TEXT, WIDE)
_DELIMITERS = "; values of CSV have commas, semicolons, tabs or bars between them, and no spaces"
_UNREAD = b"ffattn.unread"  # in what pyarrow keeps beside a table


class Windows(NamedTuple):
    """How a long series is cut.

    Attributes:
        steps: Of each window.
        stride: Steps from the beginning of a window to that of the next.
    """

    steps: int
    stride: int


class LeftOut(NamedTuple):
    """A column that is not read, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Layout:
    """What the columns of a file are: as somebody says, and then, for the columns of a file, as it is understood.

    Attributes:
        id: The column, or the columns, that tell which sequence a row belongs to; none where each row is a whole one.
        time: The column by which the steps of a sequence are ordered; none for the order of the file.
        features: The columns that are inputs; none for all that nothing else is said about.
        of_sequence: Columns with one value for each sequence: targets, groups, splits.
        optional: Those of them that may be absent.
        texts: Columns that hold text in a file of CSV, whatever their values look like; the ids always do.
        tokens: What the steps of a text are, one of `TOKENS`.
        form: One of `FORMS`.
        steps: In the wide form the columns of each feature in the order of their steps.
        leave_out: Columns that are not to be read.
        needed: Columns without whose value a sequence is left out; nothing where such a sequence is a mistake.
        windows: How series are cut, each row being a step; none for whole sequences.
        is_understood: Whether nothing is left to be found out (`ffattn.files.understanding`).
        left_out: Columns that are not read, if it is understood.
        text_rule: How the cells of a text file are read, whatever its columns.
    """

    id: str | tuple[str, ...] | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    of_sequence: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    tokens: str = WORDS
    form: str = AUTO
    steps: tuple[tuple[str, tuple[str, ...]], ...] = ()
    leave_out: tuple[str, ...] = ()
    needed: tuple[str, ...] | None = None
    windows: Windows | None = None
    is_understood: bool = False
    left_out: tuple[LeftOut, ...] = ()
    text_rule: TextRule = PLAIN

    @property
    def ids(self) -> tuple[str, ...]:
        """The columns that tell sequences apart."""
        return (self.id,) if isinstance(self.id, str) else tuple(self.id or ())

    @property
    def has_rows_of_steps(self) -> bool:
        """Whether each row is a step, rather than a sequence."""
        return bool(self.ids) or self.windows is not None

    @property
    def reading_rule(self) -> TextRule:
        """How the cells of a text file are read: `texts` and ids as text, and nothing else with a role loses digits."""
        texts = (*self.texts, *self.ids)
        return self.text_rule._replace(texts=texts, exact=tuple(sorted(self.known - set(texts))))

    @property
    def known(self) -> set[str]:
        """All columns with a role other than that of a feature."""
        return {name for name in (*self.ids, self.time, *self.of_sequence, *self.optional) if name}

    def of_sequence_in(self, table: Any) -> list[str]:
        """Return the columns with one value for each sequence that a pyarrow table has."""
        return [*self.of_sequence, *(name for name in self.optional if name in table.column_names)]

    def plain(self) -> dict[str, Any]:
        """Return what was understood in plain values, which a checkpoint can hold; the roles are in the settings."""
        steps = {feature: list(columns) for feature, columns in self.steps}
        left_out = [list(column) for column in self.left_out]
        return {"form": self.form, "features": list(self.features), "steps": steps, "left_out": left_out}

    def with_plain(self, plain: dict[str, Any]) -> "Layout":
        """Return the same roles with what was understood.

        Args:
            plain: What `plain` returned.
        """
        return replace(
            self,
            form=plain["form"],
            features=tuple(plain["features"]),
            steps=tuple((feature, tuple(columns)) for feature, columns in plain["steps"].items()),
            left_out=tuple(LeftOut(*column) for column in plain["left_out"]),
            is_understood=True,
        )


def column_list(key: str, given: Any) -> list[str]:
    """Return a column, or a list of columns, as a list of names: the number 1 is the name "1".

    Args:
        key: The setting that it comes from, for the message.
        given: A name, a whole number, or a list of these; None for no column.

    Raises:
        SettingError: It is none of these, or names a column twice.
    """
    if given is None:
        return []
    names = list(given) if isinstance(given, list | tuple) else [given]
    if not names or not all(isinstance(name, str | int) and not isinstance(name, bool) for name in names):
        raise SettingError(key, given, "must be a column, or a list of columns as in [a,b]")
    texts = [str(name) for name in names]
    if twice := [name for name in texts if texts.count(name) > 1]:
        raise SettingError(key, given, f"names column {twice[0]} twice")
    return texts


class TableBlock(NamedTuple):
    """Some consecutive rows of a file.

    Attributes:
        path: The file.
        table: Its columns, a pyarrow table.
        first: How many rows of the file stand before these.
    """

    path: Path
    table: Any
    first: int = 0

    def where(self, row: int, column: str) -> str:
        """Name a value, for a message."""
        return f"{self.path}, row {self.first + row + 1}, column {column}"


def require_columns(path: Path, table: Any, names: list[str]) -> None:
    """Refuse a table that lacks a column.

    Args:
        path: The file that it is from.
        table: A pyarrow table.
        names: What is needed.

    Raises:
        DataError: Names the first column that is missing, and those that there are.
    """
    unread = unread_of(table)
    for name in names:
        if name not in table.column_names:
            reason = f"column {name} {unread[name]}" if name in unread else f"has no column {name}"
            only = table.column_names[0] if table.num_columns == 1 else ""
            advice = _DELIMITERS if re.search(r"\S\s+\S", only) else ""
            raise DataError(f"{path}: {reason}; it has {some_of(table.column_names)}{advice}")


def with_unread(table: Any, unread: dict[str, str]) -> Any:
    """Return a table that says what of its file is no column.

    Args:
        table: A pyarrow table.
        unread: Names, and the reason of each.
    """
    return table.replace_schema_metadata({_UNREAD: json.dumps(unread)})


def unread_of(table: Any) -> dict[str, str]:
    """Return what of a table's file is no column, and why.

    Args:
        table: A pyarrow table.
    """
    found: dict[str, str] = json.loads((table.schema.metadata or {}).get(_UNREAD, b"{}"))
    return found


def some_of(names: Sequence[str], most: int = 12) -> str:
    """Return the first names of columns, and how many more there are.

    Args:
        names: Columns; one without a name, or with white space around it, is shown in quotes.
        most: How many are named.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if name and name == name.strip() else f'"{name}"' for name in names[:most]) + more
