"""Write answers to a file row by row, so that a half-written one can be gone on with.

What has been written lies beside the output until everything is there, and takes its place then.
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ffattn.files import Preparation
from ffattn.inference.columns import ID, PROBLEM, WEIGHTS, WORDS, answer_columns
from ffattn.system.atomic_files import atomic_write, errors_naming

CSV = ".csv"
PARQUET = ".parquet"
_ROWS = 10_000  # of Parquet that are held in memory

Row = dict[str, Any]


@dataclass(frozen=True)
class OutputFile:
    """A file of answers: `.csv`, `.jsonl` or `.parquet`.

    Parquet has to be written as a whole, so its rows wait as lines of JSON until all are there.

    Attributes:
        path: The file.
        preparation: How answers become columns.
        weights: Whether attention weights are among them.
    """

    path: Path
    preparation: Preparation
    weights: bool = False

    @property
    def part(self) -> Path:
        """Where rows lie until all are there."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def note(self) -> Path:
        """What those rows are answers to."""
        return self.path.with_name(f"{self.path.name}.part.json")

    def resume(self, identity: dict[str, Any]) -> int:
        """Return how many sequences have rows already; a last row that is torn is cut off.

        Args:
            identity: What must be the same for rows to be gone on with; otherwise the file is begun anew.
        """
        if self.part.exists() and self.note.exists() and self.note.read_text() == json.dumps(identity):
            is_csv = self.path.suffix == CSV
            rows, end = whole_rows(self.part, is_csv)
            count = rows - 1 if is_csv and rows else rows
            os.truncate(self.part, end if count else 0)  # a header alone is written again
            return count
        self.part.unlink(missing_ok=True)
        self.note.write_text(json.dumps(identity))
        return 0

    @contextmanager
    def writer(self) -> Iterator[Callable[[Row], Any]]:
        """Add rows to those that lie there.

        Yields:
            What writes a row, which has the columns of `answer_columns`, or more.

        Raises:
            OSError: They cannot be written; names the file.
        """
        columns = answer_columns(self.preparation, self.weights)
        with errors_naming(self.path), self.part.open("a", newline="") as file:
            yield _row_writer(file, columns, self.path.suffix == CSV)

    def finish(self) -> None:
        """Put the rows in the file's place.

        Raises:
            OSError: It cannot be written; names the file.
        """
        if self.path.suffix == PARQUET:
            with atomic_write(self.path) as table:
                self._write_parquet(table)
            self.part.unlink()
        else:
            self.part.replace(self.path)
        self.note.unlink()

    def _write_parquet(self, table: Path) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        schema = self._schema()
        with self.part.open() as lines, ParquetWriter(table, schema) as file:
            while rows := [json.loads(line) for line in islice(lines, _ROWS)]:
                file.write_table(pa.Table.from_pylist(rows, schema))

    def _schema(self) -> Any:
        import pyarrow as pa

        text = pa.string()
        number = pa.float64()
        kinds = {ID: text, PROBLEM: text, WORDS: pa.list_(text), WEIGHTS: pa.list_(number)}
        kinds |= {target.name: text if self.preparation.classes else number for target in self.preparation.targets}
        return pa.schema([(name, kinds.get(name, number)) for name in answer_columns(self.preparation, self.weights)])


class WholeRows(NamedTuple):
    """The rows of a file that are whole.

    Attributes:
        number: How many there are, a header included.
        end: The byte after the last of them.
    """

    number: int
    end: int


def whole_rows(path: Path, is_csv: bool) -> WholeRows:
    """Return which rows of a file are whole.

    Args:
        path: A file of lines.
        is_csv: Whether a row goes on, over the end of a line, where a quote is open.
    """
    rows = WholeRows(0, 0)
    place = 0
    quotes = 0
    with path.open("rb") as file:
        for line in file:
            place += len(line)
            quotes += line.count(b'"') if is_csv else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                rows = WholeRows(rows.number + 1, place)
    return rows


def _row_writer(file: TextIO, columns: list[str], is_csv: bool) -> Callable[[Row], Any]:
    """What writes a row; a file of CSV that is empty gets its header at once."""
    if not is_csv:
        return lambda row: file.write(json.dumps({name: row[name] for name in columns}) + "\n")
    table = csv.writer(file, lineterminator="\n")
    if file.tell() == 0:
        table.writerow(columns)
    return lambda row: table.writerow(["" if row[name] is None else row[name] for name in columns])
