"""Lists that are written as text: `[1, 2.5, 3]` as JSON has them, or `[1.  2.5 3. ]` as NumPy does."""

from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.values import exact_values, is_text_type, parse_numbers

NESTED = "is a list of lists; write a column of lists for each feature"
_LIST = r"(?s)^\s*(\[.*\]|\(.*\))\s*$"  # (0, 1] is an interval
_WITH_NUMBERS = r"(?s)^\s*(\[.*[0-9].*\]|\(.*[0-9].*\))\s*$"
_SCALAR = r"np\.\w+\(([^()]*)\)"  # as lists of NumPy's numbers are printed
_PROBLEMS = {  # what a list must not have in it
    r"\.\.\.": "has lost its middle to ..., as NumPy prints long arrays; write all numbers",
    r"(?s)[\[(].*[\[(]": NESTED,
}


def holds_list_texts(column: Any) -> bool:
    """Return whether a column is text, most of which is lists with numbers.

    Args:
        column: A pyarrow array.
    """
    import pyarrow as pa
    from pyarrow import compute

    if not is_text_type(column.type) or pa.types.is_dictionary(column.type) or not len(column):
        return False
    is_list = compute.match_substring_regex(column.cast(pa.string()), _WITH_NUMBERS)
    return bool(2 * compute.sum(is_list).as_py() > len(column)) if is_list.null_count < len(column) else False


def parse_lists(path: Path, name: str, column: Any, first: int) -> Any:
    """Return lists of numbers that are written as text.

    Args:
        path: The file, for messages.
        name: The column.
        column: A pyarrow array of text.
        first: How many rows of the file stand before it.

    Returns:
        A pyarrow array of lists, empty where there is no text.

    Raises:
        DataError: A text is no list of numbers, or not all of one.
    """
    from pyarrow import compute

    texts = compute.replace_substring_regex(exact_values(path, name, column), _SCALAR, r"\1")
    is_list = compute.match_substring_regex(texts, _LIST)
    wrong = {"is no list of numbers": compute.invert(is_list)}
    wrong |= {problem: compute.match_substring_regex(texts, pattern) for pattern, problem in _PROBLEMS.items()}
    for problem, has_it in wrong.items():
        if (row := compute.index(has_it.fill_null(fill_value=False), value=True).as_py()) >= 0:
            raise DataError(f"{path}, row {first + row + 1}, column {name}: {texts[row].as_py()[:40]!r} {problem}")
    return number_lists(path, name, [_split(text or "[]") for text in texts.to_pylist()], first)


def number_lists(path: Path, name: str, cells: list[list[str]], first: int = 0) -> Any:
    """Return a list of numbers for each row, as a pyarrow array.

    Args:
        path: The file, for messages.
        name: The column.
        cells: The texts of the numbers of each row.
        first: How many rows of the file stand before the first of these.

    Raises:
        DataError: A text is no number.
    """
    import pyarrow as pa

    flat = [cell for row in cells for cell in row]
    offsets = [0, *accumulate(map(len, cells))]
    numbers, is_text = parse_numbers(pa.array(flat, pa.string()))
    if is_text.any():
        step = int(np.argmax(is_text))
        row = int(np.searchsorted(offsets, step, side="right"))
        raise DataError(f"{path}, row {first + row}, column {name}: {flat[step]} is no number")
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(numbers))


def _split(text: str) -> list[str]:
    """The values of a list, between commas or else white space."""
    inner = text.strip()[1:-1].strip().removesuffix(",")
    if not inner:
        return []
    return [value.strip() for value in inner.split(",")] if "," in inner else inner.split()
