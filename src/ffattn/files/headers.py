"""The first line of a CSV: whether it has the names of columns, and what stands between them."""

import csv
import io
import re
from itertools import chain, islice, pairwise, repeat
from pathlib import Path

from ffattn.errors import DataError
from ffattn.files.values import NO_NUMBER, is_number

AUTO = "auto"
ARCHIVE = "archive"  # the UCR archive's form: no header, the class first
_LEAST_COUNTED = 8  # names 0, 1, 2, ... are a header from so many on; fewer may be a row of data
_SHOWN = 5
_EVEN = "lines must have as many values as each other, which may be empty where a sequence is shorter"


def find_delimiter(lines: bytes, usual: str, decimal: str = ".") -> str:
    """Return what stands between the values of a CSV: a comma or tab, or a semicolon or bar where those are nowhere.

    Args:
        lines: The beginning of the file.
        usual: What the name of the file tells.
        decimal: What stands before the fraction of a number; what is not that comes first.
    """
    header = re.sub(r'"[^"]*"', "", lines.decode().lstrip("\r\n").partition("\n")[0])
    known = sorted((usual, ";", "\t", ",", "|"), key=lambda delimiter: delimiter == decimal)
    found = [delimiter for delimiter in known if delimiter in header]
    return found[0] if found else usual


def find_names(path: Path, lines: bytes, delimiter: str, header: bool | str, decimal: str = ".") -> list[str] | None:
    """Return the names of the columns of a CSV without a header, 0, 1, 2, ...; None if its first line has them.

    Args:
        path: The file, for messages.
        lines: Its beginning.
        delimiter: What stands between values.
        header: Whether the first line has names; `auto`, if it should; or `archive`, if it must not.
        decimal: What stands before the fraction of a number.

    Raises:
        DataError: The first line is of the other kind.
    """
    rows = csv.reader(io.StringIO(lines.decode(), newline=""), delimiter=delimiter)
    first, second = islice(chain((row for row in rows if row), repeat([])), 2)
    shown = ", ".join(first[:_SHOWN]) + (", ..." if len(first) > _SHOWN else "")
    if 0 < len(first) < len(second):
        is_data = header in (False, ARCHIVE)
        advice = _EVEN if is_data else "a header names each column, and nothing may stand above it"
        raise DataError(
            f"{path}: the first line ({shown}) has {len(first)} value{'s' * (len(first) > 1)}, and the next one "
            f"{len(second)}; {advice}"
        )
    if header is True:
        return None
    if header is False:
        return [str(number) for number in range(len(first))]
    is_data = _is_data([cell.replace(decimal, ".") for cell in first])
    if header == ARCHIVE:
        if not is_data:
            raise DataError(f"{path}: no target; give task.target=COLUMN, one of {shown}")
        return [str(number) for number in range(len(first))]
    if is_data:
        raise DataError(
            f"{path}: the first line ({shown}) has numbers where a header has names; task.header=false reads it as "
            "data, with columns called 0, 1, 2, ... (task.target=0 is the first); task.header=true as names"
        )
    return None


def refuse_twins(path: Path, names: list[str]) -> None:
    """Refuse a table in which two columns have the same name.

    Args:
        path: The file, for the message.
        names: Of its columns.

    Raises:
        DataError: Names the first of them.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: has two columns {twice[0]}")


def _is_data(row: list[str]) -> bool:
    """Whether a row has numbers alone, or some that no names would be."""
    cells = [cell.strip() for cell in row]
    numbers = [cell for cell in cells if is_number(cell) and cell not in NO_NUMBER]
    if not numbers:
        return False
    if len(numbers) == sum(cell not in NO_NUMBER for cell in cells):
        return not _counts_up(numbers)
    return not _could_be_names(numbers)


def _counts_up(numbers: list[str]) -> bool:
    """Whether they are 0, 1, 2, ... or 1, 2, 3, ..., as pandas calls columns without names."""
    if len(numbers) < _LEAST_COUNTED or numbers[0] not in {"0", "1"}:
        return False
    return numbers == [str(int(numbers[0]) + place) for place in range(len(numbers))]


def _could_be_names(numbers: list[str]) -> bool:
    """Whether numbers beside words could be names, as years and wavelengths are: positive, and in order or whole."""
    values = [float(number) for number in numbers]
    pairs = list(pairwise(values))
    in_order = all(a < b for a, b in pairs) or all(a > b for a, b in pairs)
    are_whole = all(re.fullmatch("[0-9]+", number) for number in numbers)
    return min(values) >= 0 and len(set(numbers)) == len(numbers) and (in_order or are_whole)
