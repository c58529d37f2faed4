"""What the columns of a file are: which tell sequences apart, which are features, and which are of a sequence."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ffattn.errors import DataError
from ffattn.files.text_files import PLAIN, TextRule

WORDS = "words"
CHARACTERS = "characters"
TOKENS = (WORDS, CHARACTERS)


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
        text_rule: How the cells of a text file are read, whatever its columns.
    """

    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] = ()
    of_sequence: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    tokens: str = WORDS
    text_rule: TextRule = PLAIN

    @property
    def reading_rule(self) -> TextRule:
        """How the cells of a text file are read: `texts` and ids as text, and nothing else with a role loses digits."""
        texts = (*self.texts, self.id) if self.id is not None else self.texts
        return self.text_rule._replace(texts=texts, exact=tuple(sorted(self.known - set(texts))))

    @property
    def known(self) -> set[str]:
        """All columns with a role other than that of a feature."""
        return {name for name in (self.id, self.time, *self.of_sequence, *self.optional) if name}

    def of_sequence_in(self, table: Any) -> list[str]:
        """Return the columns with one value for each sequence that a pyarrow table has."""
        return [*self.of_sequence, *(name for name in self.optional if name in table.column_names)]


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
    for name in names:
        if name not in table.column_names:
            raise DataError(f"{path}: has no column {name}; it has {_some(table.column_names)}")


def _some(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
