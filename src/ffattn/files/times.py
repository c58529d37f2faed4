"""What orders steps and sequences: whole numbers, numbers, and times, none of which loses a digit."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.dates import find_date
from ffattn.files.typed_texts import typed_texts

_MONTH = r"^([0-9]{4}-[0-9]{2})$"  # 2024-03 is its first day
_ADVICE = "write times as numbers, or as 2024-03-01, 2024-03-01 12:30:00, 2024 Mar or 2024 Q1"


def sort_keys(column: Any, where: Callable[[int], str]) -> np.ndarray:
    """Return numbers that are in the order of the values, exactly.

    Args:
        column: A pyarrow array (see `ffattn.files.values.exact_values`): numbers, times, or texts of either.
        where: Names a value by its place, for a message.

    Returns:
        Whole numbers, or float64.

    Raises:
        DataError: A value is missing, not finite, or no time in a form whose order is known.
    """
    import pyarrow as pa

    if column.null_count:
        raise DataError(f"{where(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))))}: no time")
    if pa.types.is_string(column.type):
        typed = typed_texts(column)
        return _keys_of_texts(column, where) if pa.types.is_string(typed.type) else sort_keys(typed, where)
    if pa.types.is_temporal(column.type):
        whole = pa.int32() if column.type.bit_width == 32 else pa.int64()
        return np.asarray(column.cast(whole).to_numpy(zero_copy_only=False))
    if pa.types.is_decimal(column.type):
        return _keys_of_decimals(column, where)
    if not pa.types.is_integer(column.type) and not pa.types.is_floating(column.type):
        raise DataError(f"{where(0)}: {column[0].as_py()} is no time; {_ADVICE}")
    keys = np.asarray(column.to_numpy(zero_copy_only=False))
    if (bad := np.flatnonzero(~np.isfinite(keys))).size:
        raise DataError(f"{where(int(bad[0]))}: {keys[bad[0]]} is no time")
    return keys


def _keys_of_decimals(column: Any, where: Callable[[int], str]) -> np.ndarray:
    """The digits without the point, as whole numbers."""
    values = [int(value.scaleb(column.type.scale)) for value in column.to_pylist()]
    if values and min(values) >= 0 and 2**63 <= max(values) < 2**64:
        return np.array(values, dtype=np.uint64)
    if long := [place for place, value in enumerate(values) if abs(value) >= 2**63]:
        raise DataError(f"{where(long[0])}: {column[long[0]].as_py()} has more digits than a time may have")
    return np.array(values, dtype=np.int64)


def _keys_of_texts(texts: Any, where: Callable[[int], str]) -> np.ndarray:
    import pyarrow as pa
    from pyarrow import compute

    values = compute.replace_substring_regex(compute.ascii_trim_whitespace(texts), _MONTH, r"\1-01")
    for unit in ("ns", "us"):
        for zone in (None, "UTC"):
            with suppress(pa.ArrowInvalid):
                return np.asarray(values.cast(pa.timestamp(unit, zone)).cast(pa.int64()).to_numpy(zero_copy_only=False))
    if (keys := _keys_of_dates(texts)) is not None:
        return keys
    place = next((place for place, text in enumerate(values.to_pylist()) if not _is_time(text)), 0)
    raise DataError(f"{where(place)}: {texts[place].as_py()!r} is text, and no time; {_advice(texts)}")


def _keys_of_dates(texts: Any) -> np.ndarray | None:
    """Whole numbers in the order of dates, if all are dates of one form."""
    encoded = texts.dictionary_encode()
    dates = [find_date(text) for text in encoded.dictionary.to_pylist()]
    known = [date for date in dates if date is not None and date.is_real]
    if len(known) < len(dates) or len({date.form for date in known}) != 1:
        return None
    keys = [sum(part * 100**power for power, part in enumerate(reversed(date.parts))) for date in known]
    return np.asarray(np.array(keys, dtype=np.int64)[encoded.indices.to_numpy()])


def _is_time(text: str) -> bool:
    import pyarrow as pa

    for zone in (None, "UTC"):
        with suppress(pa.ArrowInvalid):
            return bool(pa.array([text]).cast(pa.timestamp("us", zone)).is_valid()[0].as_py())
    return False


def _advice(texts: Any) -> str:
    """The way round that the first texts suggest."""
    if re.match(r"^\s*\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", texts[0].as_py()):
        return f"day or month may come first; {_ADVICE}"
    return _ADVICE
