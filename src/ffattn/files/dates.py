"""Dates in forms whose order is beyond doubt: years have four digits, and come first unless a month has a name."""

import datetime
import re
from typing import NamedTuple

YEAR = re.compile(r"(?<!\d)(1[5-9]|2[01])\d\d(?!\d)")
MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_FORMS = (  # with groups that are in the order of time when they are compared from the first to the last
    r"(?P<a>\d{4})[-/_](?P<b>\d{1,2})",
    r"(?P<a>\d{4})[-/_.](?P<b>\d{1,2})[-/_.](?P<c>\d{1,2})(?:[ T_](?P<d>\d{2})[:.](?P<e>\d{2})(?:[:.](?P<f>\d{2}))?)?",
    r"(?P<a>\d{4})[-_ .]?Q(?P<b>\d{1,2})",
    r"(?P<a>\d{4})[-_ .]?W(?P<b>\d{1,2})",
    r"(?P<a>\d{4})[-_ .]?M(?P<b>\d{1,2})",
    r"Q(?P<b>[1-4])[-_ .]?(?P<a>\d{4})",
    r"(?P<a>\d{4})[-_ .]?(?P<month>[a-z]{3,9})",
    r"(?P<month>[a-z]{3,9})[-_ .]?(?P<a>\d{4})",
    r"(?P<c>\d{1,2})[-_ ./]+(?P<month>[a-z]{3,9})[-_ ./]+(?P<a>\d{4})",
    r"(?P<month>[a-z]{3,9})[-_ .]+(?P<c>\d{1,2}),?[-_ ]+(?P<a>\d{4})",
)
_MOST = {2: 4, 3: 53, 4: 12, 5: 4}  # quarters, weeks and months of a year, in these forms


class Date(NamedTuple):
    """A date; those of one form are in the order of time.

    Attributes:
        form: The number of its form.
        parts: The year, and what divides it.
    """

    form: int
    parts: tuple[int, ...]

    @property
    def is_real(self) -> bool:
        """Whether a calendar has it."""
        if self.form in _MOST:
            return 1 <= self.parts[1] <= _MOST[self.form]
        day = self.parts if len(self.parts) > 2 else (*self.parts, 1)
        try:
            datetime.datetime(*day)  # type: ignore[arg-type]  # year, month, day, and what there is of a time
        except ValueError:
            return False
        return True


def find_date(text: str) -> Date | None:
    """Return the date that a text is; None if it is none, or one whose order is in doubt.

    Args:
        text: A value, or the name of a column.
    """
    for form, pattern in enumerate(_FORMS):
        if (match := re.fullmatch(pattern, text.strip(), re.IGNORECASE)) and (parts := _parts_of(match)) is not None:
            return Date(form, parts)
    return None


def _parts_of(match: re.Match[str]) -> tuple[int, ...] | None:
    parts = match.groupdict()
    if not YEAR.fullmatch(parts["a"]):
        return None
    if (month := parts.pop("month", None)) is not None:
        if (place := place_in(month, MONTHS)) is None:
            return None
        parts["b"] = str(place + 1)
    return tuple(int(parts[key] or 0) for key in sorted(parts))


def place_in(name: str, calendar: list[str]) -> int | None:
    """Return the place of a month or a weekday, from 0, of which at least three letters are given; None if it is none.

    Args:
        name: The month or weekday.
        calendar: Their full names.
    """
    given = name.strip().lower().rstrip(".")
    places = [place for place, full in enumerate(calendar) if len(given) >= 3 and full.startswith(given)]
    return places[0] if len(places) == 1 else None
