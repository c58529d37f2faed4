"""Texts that look like numbers or dates in another notation, and what to do about them."""

import re
from collections.abc import Collection

from ffattn.files.values import is_number

NO_NUMBER_AMONG_NUMBERS = "is no number, as most values of the column are; what stands for no value must be empty"
_LEAST = 0.9  # of the different texts of a column
_MOST_CATEGORIES = 20  # values with a unit, dates and codes may be categories if there are so few
_NO_SPACE = r"[\s\u00a0\u2009\u202f'\u2019_]"  # what stands between thousands
_YEAR = r"(1[5-9]|2[01])\d\d"
_NAME = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_MONTH = (  # or week, quarter, or a day with the name of its month
    rf"{_YEAR}[-/_]\d{{1,2}}|{_YEAR}[-_ .]?[QWM]\d{{1,2}}|Q[1-4][-_ .]?{_YEAR}|"
    rf"{_YEAR}[-_ .]?{_NAME}|{_NAME}[-_ .]?{_YEAR}|"
    rf"\d{{1,2}}[-_ ./]+{_NAME}[-_ ./]+\d{{2,4}}|{_NAME}[-_ .]+\d{{1,2}},?[-_ ]+{_YEAR}"
)
_NOTATIONS = (
    (r"[+-]?\d{1,3}(,\d{3})+\.\d+|[+-]?\d{1,3}(,\d{3}){2,}", "has commas between thousands; write 1234.5", 0),
    (r"[+-]?\d{1,3}(\.\d{3})+,\d+|[+-]?\d{1,3}(\.\d{3}){2,}", "has points between thousands; write 1234.5", 0),
    (r"[+-]?\d{1,3},\d{3}", "has a comma: of thousands (write 1234), or a decimal one (task.decimal=comma)", 0),
    (r"[+-]?\d*,\d+", "has a decimal comma; task.decimal=comma reads it in CSV", 0),
    (rf"[+-]?\d{{1,3}}({_NO_SPACE}\d{{3}})+([.,]\d+)?", "has marks between thousands; write 1234.5", 0),
    (r"[+-]?[0-9]+(_[0-9]+)+", "has marks between digits; write 1234.5", 0),
    (
        r"[+-]?\d+([.,]\d+)?\s?%|[+-]?[$\u20ac\u00a3\u00a5]\s?\d[\d.,]*|\d[\d.,]*\s?[$\u20ac\u00a3\u00a5]",
        "has a sign of percent or of a currency; write the number alone",
        0,
    ),
    (r"[+-]?0[xX][0-9a-fA-F]+", "is hexadecimal; write it in digits 0 to 9", _MOST_CATEGORIES),
    (
        rf"\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}.*|{_MONTH}",
        "is a date; name it as the time, or leave it out",
        _MOST_CATEGORIES,
    ),
    (r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", "is a time of day; write it as a number, or leave it out", _MOST_CATEGORIES),
    (r"[+-]?\d+([.,]\d+)?\s?[A-Za-z\u00b5\u00b0\u03a9]{1,4}", "has a unit; write the number alone", _MOST_CATEGORIES),
)


def other_notation(texts: Collection[str]) -> str | None:
    """Return how texts look like numbers or dates in a form that is not read, and what would be right.

    Args:
        texts: The different values of a column.

    Returns:
        Words that follow the value; None if most of them are words, or plain numbers.
    """
    others = [text.strip() for text in texts if not is_number(text)]
    if not others:
        return None
    if all(text.isdecimal() and not text.isascii() for text in others):
        return "is written in other digits than 0 to 9"
    for pattern, advice, most in _NOTATIONS:
        count = sum(re.fullmatch(pattern, text, re.IGNORECASE) is not None for text in others)
        if count + len(texts) - len(others) >= _LEAST * len(texts) and count >= _LEAST * len(others):
            return advice if len(texts) > most else None
    return None
