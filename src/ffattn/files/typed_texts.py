"""What the texts of a column are: numbers without a digit lost, true and false, or texts."""

from contextlib import suppress
from typing import Any

from ffattn.files.values import NO_NUMBER, NO_TEXT, NUMBER, without

_WHOLE = r"^[+-]?[0-9]+$"
_CODE = r"^[+-]?0[0-9]"  # a whole number does not begin with a zero
_TRUTH = ["true", "True", "TRUE", "false", "False", "FALSE"]
_PLAIN = r"^-?[0-9]*\.?[0-9]*$"
_MOST_DIGITS = 38  # that pyarrow's decimals hold


def typed_texts(texts: Any, decimal: str = ".") -> Any:
    """Return what the texts of a column are: whole numbers, other numbers, or true and false; otherwise the texts.

    No digit is lost, so numbers with leading zeros (007) are texts, and long ones are decimals.

    Args:
        texts: A pyarrow array of text.
        decimal: What stands before the fraction.
    """
    import pyarrow as pa
    from pyarrow import compute

    values = without(compute.ascii_trim_whitespace(texts), NO_NUMBER)
    if decimal != ".":
        values = compute.replace_substring(compute.replace_substring(values, ".", "_"), decimal, ".")
    if values.null_count == len(values) or compute.any(compute.match_substring_regex(values, _CODE)).as_py():
        return without(texts, NO_TEXT)
    if _all_match(values, NUMBER):
        return _exact_numbers(compute.replace_substring_regex(values, r"^\+", ""))
    if compute.all(compute.is_in(values.drop_null(), pa.array(_TRUTH))).as_py():
        return compute.utf8_lower(values).cast(pa.bool_())
    return without(texts, NO_TEXT)


def _all_match(values: Any, pattern: str) -> bool:
    from pyarrow import compute

    return bool(compute.all(compute.match_substring_regex(values, pattern)).as_py())


def _exact_numbers(values: Any) -> Any:
    """Texts of numbers in the first type that keeps them apart, or as they are if none does."""
    import pyarrow as pa
    from pyarrow import compute

    if _all_match(values, _WHOLE):
        kinds = [pa.int64(), pa.uint64(), pa.decimal128(_MOST_DIGITS, 0)]
        return _first_cast(values, kinds)
    numbers = values.cast(pa.float64())
    fraction = compute.max(compute.utf8_length(compute.replace_substring_regex(values, r"^[^.]*\.?", ""))).as_py()
    if _all_match(values, _PLAIN) and fraction < _MOST_DIGITS:
        exact = _first_cast(values, [pa.decimal128(_MOST_DIGITS, fraction)])
        return numbers if compute.count_distinct(exact) == compute.count_distinct(numbers) else exact
    return numbers


def _first_cast(values: Any, kinds: list[Any]) -> Any:
    """Values of the first type that holds them, or as they are."""
    import pyarrow as pa

    for kind in kinds:
        with suppress(pa.ArrowInvalid):
            return values.cast(kind)
    return values
