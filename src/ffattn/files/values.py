"""The values of a column: exactly as the file has them, as numbers, and as text.

What identifies (ids, times, classes, groups) stays a pyarrow array of the file's own type, with null where nothing is.
Features are numbers in float64, or text.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ffattn.errors import DataError
from ffattn.system.lazy import Bool, Float

NO_TEXT = ["", "nan", "NaN", "<NA>", "NaT", "null", "NULL", "N/A", "?"]  # nothing, in columns of text
NO_NUMBER = [*NO_TEXT, "NA", "None"]  # likewise in columns of numbers; as text these are names
NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|(?i:inf|infinity))$"


class ParsedNumbers(NamedTuple):
    """Values of a column as numbers.

    Attributes:
        numbers: NaN where there is none.
        is_text: Which of the values are text that is no number.
    """

    numbers: Float[np.ndarray, " value"]
    is_text: Bool[np.ndarray, " value"]


def exact_column(path: Path, table: Any, name: str) -> Any:
    """Return a column that identifies as the file has it (see `exact_values`).

    Args:
        path: The file, for messages.
        table: A pyarrow table.
        name: The column.

    Raises:
        DataError: It holds neither numbers nor text nor times.
    """
    return exact_values(path, name, table[name].combine_chunks())


def exact_values(path: Path, name: str, column: Any) -> Any:
    """Return values as the file has them: a pyarrow array, null where there is none.

    Categories become their values, NaN becomes null, and text of any kind pyarrow's `string`.

    Args:
        path: The file, for messages.
        name: The column, likewise.
        column: A pyarrow array.

    Raises:
        DataError: The values are neither numbers nor text nor times.
    """
    import pyarrow as pa
    from pyarrow import compute

    if is_text_type(column.type):
        return without(_plain_texts(path, name, column), NO_TEXT)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
        return compute.if_else(compute.is_nan(column), pa.scalar(None, column.type), column)
    others = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_decimal, pa.types.is_temporal)
    if not any(test(column.type) for test in others):
        raise DataError(f"{path}, column {name}: holds {column.type}, which is neither numbers nor text")
    return column


def texts_in(path: Path, table: Any, name: str) -> list[str]:
    """Return a column of texts with nothing left out, so that the text NA is one; empty where there is none.

    Args:
        path: The file, for messages.
        table: A pyarrow table.
        name: The column.

    Raises:
        DataError: It holds bytes that are no text.
    """
    return [text or "" for text in _plain_texts(path, name, table[name].combine_chunks()).to_pylist()]


def _plain_texts(path: Path, name: str, column: Any) -> Any:
    import pyarrow as pa

    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}, column {name}: holds bytes that are not text in UTF-8") from error


def is_text_type(kind: Any) -> bool:
    """Return whether a type of pyarrow is text, in any of its forms (bytes must be UTF-8)."""
    import pyarrow as pa

    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    bytes_too = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    is_dictionary = pa.types.is_dictionary(kind)
    return any(test(kind.value_type if is_dictionary else kind) for test in (*tests, *bytes_too))


def same_values(first: Any, second: Any) -> Bool[np.ndarray, " value"]:
    """Return where two pyarrow arrays have the same value, or both none.

    Args:
        first: Some values.
        second: As many, of the same type.
    """
    from pyarrow import compute

    same = compute.equal(first, second).fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    nothing = compute.and_(first.is_null(), second.is_null()).to_numpy(zero_copy_only=False)
    return np.asarray(same | nothing)


def without(texts: Any, nothing: list[str]) -> Any:
    """Return texts with null in place of what stands for no value.

    Args:
        texts: A pyarrow array of text.
        nothing: What stands for no value.
    """
    import pyarrow as pa
    from pyarrow import compute

    return compute.if_else(compute.is_in(texts, pa.array(nothing)), pa.scalar(None, pa.string()), texts)


def column_values(path: Path, table: Any, name: str) -> np.ndarray:
    """Return a feature as float64 or text (see `to_array`).

    Args:
        path: The file, for messages.
        table: A pyarrow table.
        name: The column.
    """
    return to_array(path, name, table[name].combine_chunks())


def to_array(path: Path, name: str, column: Any) -> np.ndarray:
    """Return pyarrow values as float64 with NaN, or as text with None, where there is none.

    Args:
        path: The file, for messages.
        name: The column, likewise.
        column: A pyarrow array.

    Raises:
        DataError: The values are times, or of a type that is neither numbers nor text.
    """
    import pyarrow as pa

    column = exact_values(path, name, column)
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        return np.array(texts_of(column), dtype=object)
    if _is_numeric(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    if pa.types.is_duration(kind):
        raise DataError(f"{path}, column {name}: holds durations; write them as numbers, in seconds for example")
    raise DataError(f"{path}, column {name}: holds times; name it as the time, or choose features=[...] without it")


def _is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def parse_numbers(column: Any) -> ParsedNumbers:
    """Return values as numbers, and which of them are text that is no number.

    Args:
        column: Values of a feature, or a pyarrow array.
    """
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(column, np.ndarray):
        if column.dtype != object:
            return ParsedNumbers(column, np.zeros(len(column), dtype=bool))
        column = pa.array(column.tolist(), pa.string())
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    if not pa.types.is_string(column.type):
        numbers = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return ParsedNumbers(numbers, np.zeros(len(column), dtype=bool))
    values = without(compute.ascii_trim_whitespace(column), NO_NUMBER)
    is_numeric = compute.match_substring_regex(values, NUMBER)
    numbers = compute.if_else(is_numeric, values, pa.scalar(None, pa.string())).cast(pa.float64())
    is_text = compute.invert(is_numeric).fill_null(fill_value=False).to_numpy(zero_copy_only=False)
    return ParsedNumbers(numbers.to_numpy(zero_copy_only=False), is_text)


def holds_words(path: Path, table: Any, name: str) -> bool:
    """Return whether a column is text other than numbers.

    Args:
        path: The file, for messages.
        table: A pyarrow table.
        name: The column.
    """
    is_text = is_text_type(table[name].type)
    return is_text and bool(parse_numbers(exact_column(path, table, name)).is_text.any())


def is_number(text: str) -> bool:
    """Return whether a text is a number, in digits with a point: neither `1_000` nor other scripts' digits."""
    return re.fullmatch(NUMBER, text.strip()) is not None


def texts_of(column: Any) -> list[str | None]:
    """Return values as text: whole numbers without a fraction, None where there is no value.

    Text stays as it is in the file. Numbers have all of their digits, and times no zeros at the end of a second.

    Args:
        column: Values of a feature, or a pyarrow array.
    """
    import pyarrow as pa
    from pyarrow import compute

    if isinstance(column, np.ndarray):
        if column.dtype == object:
            return list(column)
        return [None if np.isnan(value) else _text_of_number(value) for value in column.tolist()]
    if pa.types.is_float32(column.type):  # the shortest text of its own, and not of the double that it becomes
        numbers = column.to_numpy(zero_copy_only=False)
        return [None if np.isnan(value) else _text_of_number(float(str(value))) for value in numbers]
    if pa.types.is_floating(column.type):
        return [None if value is None else _text_of_number(value) for value in column.to_pylist()]
    texts = column.cast(pa.string())
    if pa.types.is_timestamp(column.type) or pa.types.is_time(column.type):
        texts = compute.replace_substring_regex(texts, r"(\.[0-9]*?)0+($|Z|[+-])", r"\1\2")
        texts = compute.replace_substring_regex(texts, r"\.($|Z|[+-])", r"\1")
    found: list[str | None] = texts.to_pylist()
    return found


def _text_of_number(value: float) -> str:
    return f"{int(value)}" if np.isfinite(value) and value == int(value) else repr(value)
