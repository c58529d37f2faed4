"""From the names of a wide file's columns to the steps of each feature: the only reading there is, or none."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

from ffattn.files.dates import MONTHS, WEEKDAYS, YEAR, find_date, place_in

VALUE = "value"  # what a feature is called whose columns have no name in common

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PURE = re.compile(r"[+-]?\d+(\.\d+)?")
_TIME_WORDS = ("t", "time", "step", "day", "hour", "week", "month", "year", "date", "lag")
_BACKWARDS = re.compile(r"(?:(?:^|[^a-z])t-|lag[_. -]?)$", re.IGNORECASE)  # before a number of steps ago


class AmbiguousNamesError(ValueError):
    """Names that can be read in two ways, or in none; says which."""


class NumberedName(NamedTuple):
    """A column of the wide form.

    Attributes:
        feature: What the name is without the number of the step.
        step: The number.
    """

    feature: str
    step: float


def group_steps(names: list[str], is_ordered: bool = False) -> dict[str, list[str]]:
    """Return the columns of each feature, in the order of their steps.

    Numbers, dates, months and weekdays are the steps of one feature; `a_0, a_1, b_0, b_1` those of several, which must
    have the same ones.

    Args:
        names: Columns of numbers, in the order of the file.
        is_ordered: Whether names without a number are the steps of one feature in this order, because somebody said so.

    Raises:
        AmbiguousNamesError: There are two readings, or none.
    """
    if len(names) == 1:
        return {_single(names[0]): names}
    _refuse_copies(names)
    for ordered in (_by_number(names), _by_date(names), _of_calendar(names, is_ordered)):
        if ordered:
            return {VALUE: ordered}
    plain = [name for name in names if not _NUMBER.search(name)]
    if plain == names and is_ordered:
        return {VALUE: names}
    if plain:
        raise AmbiguousNamesError(_unnumbered(names, [name for name in plain if family_of(name) is None] or plain))
    numbered = {name: found for name in names if (found := numbered_name(name)) is not None}
    if odd := [name for name in names if name not in numbered]:
        raise AmbiguousNamesError(
            f"columns {_listed(odd)} have several numbers, of which each could be the step; name the columns of each "
            f"feature in their order, as in {_all_of(names)}"
        )
    _refuse_decimals(names)
    return _even(names, numbered)


def _refuse_copies(names: list[str]) -> None:
    """Refuse t0 and t0.1, as pandas calls two columns t0; 0, 0.1, 0.2, ... at equal distances are numbers."""
    if all(_PURE.fullmatch(name) for name in names) and _are_even(sorted(map(float, names))):
        return
    known = set(names)
    for name in names:
        original = name.removesuffix(".1")
        if original != name and original in known:
            raise AmbiguousNamesError(
                f"columns {original} and {name} are copies of a column in pandas, or decimals; rename one, or give "
                f"{_out(name)}, or {_all_of(names)} for steps of one feature"
            )


def _are_even(numbers: list[float]) -> bool:
    distances = [b - a for a, b in pairwise(numbers)]
    return max(distances) - min(distances) < 1e-6 * max(distances)


def _unnumbered(names: list[str], plain: list[str]) -> str:
    """The readings of columns of which some, or all, have no number."""
    if plain == names:
        return (
            f"columns {_listed(names)} have no numbers that would tell steps: if they are the steps of one feature, in "
            "this order, give task.form=wide; if each row is a step of a longer sequence, give task.id=COLUMN"
        )
    others = [name for name in names if name not in plain]
    return (
        f"names of columns do not agree: {_listed(plain)} beside {_listed(others, 3)}; if the former are no steps, "
        f"give task.leave_out=[{_listed(plain)}]; if all are steps of one feature, give {_all_of(names)}"
    )


def numbered_name(name: str) -> NumberedName | None:
    """Return the feature and the step that a name tells; None if it has no number, or several that could be the step.

    Args:
        name: A column.
    """
    if _PURE.fullmatch(name):
        return NumberedName(VALUE, float(name))
    places = list(_NUMBER.finditer(name))
    chosen = _step_among(name, places)
    if chosen is None:
        return None
    head = re.sub(r"[_. ]$", "", name[: chosen.start()])
    tail = name[chosen.end() :]
    if not head:
        tail = tail.lstrip("_. ")
    sign = -1.0 if _BACKWARDS.search(name[: chosen.start()]) else 1.0
    return NumberedName(head + tail or VALUE, sign * float(chosen[0]))


def family_of(name: str) -> str | None:
    """Return what other columns a name could be a step beside: the same for all steps of a feature; None for none.

    Args:
        name: A column.
    """
    if _PURE.fullmatch(name):
        return VALUE
    if (date := find_date(name)) is not None:
        return f"date {date.form}"
    for calendar in (MONTHS, WEEKDAYS):
        if place_in(name, calendar) is not None:
            return calendar[0]
    found = numbered_name(name)
    return None if found is None else found.feature


def _step_among(name: str, places: list[re.Match[str]]) -> re.Match[str] | None:
    """The only number; or the one that a word of time precedes; or the last, after a separator and a name."""
    if len(places) <= 1:
        return places[0] if places else None
    if YEAR.search(name):
        return None
    timed = [place for place in places if _word_before(name, place) in _TIME_WORDS]
    last = places[-1]
    is_last = last.end() == len(name) and name[last.start() - 1] in "_." and re.search("[^\\W\\d_]", name) is not None
    if timed:
        return timed[0] if len(timed) == 1 and (timed[0] is last or not is_last) else None
    return last if is_last else None


def _word_before(name: str, place: re.Match[str]) -> str:
    found = re.search(r"([a-z]+)[_. ]?$", name[: place.start()].lower())
    return found[1] if found else ""


def _single(name: str) -> str:
    found = numbered_name(name)
    return found.feature if found else VALUE


def _by_number(names: list[str]) -> list[str]:
    """The names in the order of their numbers, if they are nothing else."""
    if not all(_PURE.fullmatch(name) for name in names):
        return []
    ordered = _increasing(names, float)
    parts = [name.split(".") for name in names]
    if all(len(part) == 2 and YEAR.fullmatch(part[0]) and 1 <= int(part[1]) <= 12 for part in parts):
        by_month = _increasing(names, lambda name: tuple(map(int, name.split("."))))
        if ordered != by_month:  # 2020.2 and 2020.12
            raise AmbiguousNamesError(
                f"columns {_listed(names)} are decimals or months; give {_all_of(by_month)} for months in their "
                f"order, or {_all_of(ordered)} for decimals"
            )
    return ordered


def _by_date(names: list[str]) -> list[str]:
    """The names in the order of time, if all are dates of one form."""
    dates = {name: date for name in names if (date := find_date(name)) is not None}
    if len(dates) < len(names) or len({date.form for date in dates.values()}) > 1:
        return []
    return _increasing(names, dates.__getitem__)


def _of_calendar(names: list[str], is_ordered: bool) -> list[str]:
    """The names as they stand, if all are months, or all are weekdays: a year may begin in any of them."""
    for calendar in (MONTHS, WEEKDAYS):
        places = [place for name in names if (place := place_in(name, calendar)) is not None]
        if len(set(places)) < len(names):
            continue
        turns = sum(after < before for before, after in pairwise([*places, places[0]]))
        if turns > 1 and not is_ordered:  # as where they have been sorted by the alphabet
            by_place = [name for _, name in sorted(zip(places, names, strict=True))]
            raise AmbiguousNamesError(
                f"columns {_listed(names)} are not in the order of the calendar; give {_all_of(by_place)} for that "
                "order, or task.form=wide for that of the file"
            )
        return names
    return []


def _increasing(names: list[str], key: Callable[[str], object]) -> list[str]:
    places: dict[object, str] = {}
    for name in names:
        if (other := places.setdefault(key(name), name)) != name:
            raise AmbiguousNamesError(f"columns {other} and {name} are the same step; leave one out: {_out(name)}")
    return sorted(names, key=key)  # type: ignore[arg-type]


def _even(names: list[str], numbered: dict[str, NumberedName]) -> dict[str, list[str]]:
    """Columns by feature, all of which have the same steps."""
    groups: dict[str, dict[float, str]] = {}
    for name, (feature, step) in numbered.items():
        group = groups.setdefault(feature, {})
        if (other := group.setdefault(step, name)) != name:
            raise AmbiguousNamesError(f"columns {other} and {name} are the same step; leave one out: {_out(name)}")
    counts = ", ".join(f"{feature} with {len(steps)}" for feature, steps in groups.items())
    if len({tuple(sorted(steps)) for steps in groups.values()}) > 1:
        raise AmbiguousNamesError(
            f"columns {_listed(names)} are features with different steps ({counts}), or the steps of one feature; "
            f"leave columns out, as with {_out(_odd_one(groups))}, or give {_all_of(names)}"
        )
    if len(groups) > 1 and len(groups) == len(names):
        raise AmbiguousNamesError(
            f"columns {_listed(names)} are {len(names)} features of one step, or the steps of one feature; give "
            f"{_all_of(names)} for the latter, and task.id=COLUMN if each row is a step of a longer sequence"
        )
    return {feature: [steps[step] for step in sorted(steps)] for feature, steps in groups.items()}


def _refuse_decimals(names: list[str]) -> None:
    """Refuse x1.0, x1.1, x2.0, x2.1, which are steps 0 and 1 of x1 and x2, or 1.0 to 2.1 of x; and x1.9, x1.10."""
    found = [re.fullmatch(r"(.*\D\d+)\.(\d+)", name) for name in names]
    groups: dict[str, set[int]] = {}
    for match in found:
        if match is None:
            return
        groups.setdefault(match[1], set()).add(int(match[2]))
    is_grid = len(groups) > 1 and len(set(map(frozenset, groups.values()))) == 1 and len(names) > len(groups)
    has_long = len({len(match[2]) for match in found if match is not None}) > 1
    if is_grid or (len(groups) == 1 and has_long):
        raise AmbiguousNamesError(
            f"columns {_listed(names)} are decimals, or a number and a step; name the columns of each feature in their "
            f"order, as in {_all_of(names)}"
        )


def _odd_one(groups: dict[str, dict[float, str]]) -> str:
    """A column whose step not all features have."""
    steps = set.intersection(*(set(group) for group in groups.values()))
    return next(name for group in groups.values() for step, name in group.items() if step not in steps)


def _out(name: str) -> str:
    return f"task.leave_out=[{name}]"


def _all_of(names: Iterable[str]) -> str:
    return f"task.features={{{VALUE}: [{_listed(list(names))}]}}"


def _listed(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
