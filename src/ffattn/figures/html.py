"""Web pages that are one file: they open from a disk, without a network, and every text in them is escaped.

The templates escape whatever is not `Markup`, and only the functions here make that.
"""

import base64
import functools
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ffattn.figures.record import AttentionRecord

_MOST_STEPS = 2000  # of one sequence that can be pointed at; more would make a slow page


@functools.cache
def _templates() -> Environment:
    loader = PackageLoader("ffattn.figures")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)


def _render(name: str, *arguments: Any) -> Markup:
    """What a macro of `parts.html` makes."""
    return Markup(getattr(_templates().get_template("parts.html").module, name)(*arguments))


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page.

    Args:
        title: Its heading, as plain text.
        parts: What the functions below make; other text is escaped.
    """
    return _templates().get_template("page.html").render(title=title, body=Markup("\n").join(parts))


def paragraph(text: str) -> Markup:
    """Return a paragraph of plain text."""
    return _render("paragraph", text)


def table(rows: Sequence[Mapping[str, str]], codes: Collection[str] = ()) -> Markup:
    """Return a table with a heading for each column.

    Args:
        rows: Values by column, the same columns in each.
        codes: Columns that hold commands.
    """
    return _render("table", rows, codes)


def picture(figure: "Figure", caption: str) -> Markup:
    """Return a matplotlib figure, inside the page.

    Args:
        figure: The picture.
        caption: What it shows, in plain text, for those who cannot see it, too.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return _render("figure", _render("image", _base64(file.getvalue()), caption), caption)


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def slides(name: str, pictures: Mapping[str, bytes]) -> Markup:
    """Return pictures of which one is shown at a time: a row of buttons chooses it, and so do the arrow keys.

    Args:
        name: Of the row, which no other on the page has; plain text.
        pictures: PNG files by what their buttons say, at least one; the last is shown first.
    """
    return _render("slides", name, {label: _base64(png) for label, png in pictures.items()})


class _Size(NamedTuple):
    """Of the interactive picture, in pixels: `left` of its points is room for the numbers on the axes."""

    width: int = 900
    height: int = 0
    left: int = 60
    right: int = 10
    row: int = 130
    gap: int = 28


class _Point(NamedTuple):
    """A step: where it is, what it says, and whether it is marked."""

    x: float
    y: float
    text: str
    is_marked: bool


class _Row(NamedTuple):
    """A row of points between two heights, which stand for the smallest and the largest of its values."""

    name: str
    top: int
    bottom: int
    low: float
    high: float
    points: list[_Point]


def steps_of(seen: "AttentionRecord", index: int = 0) -> Markup:
    """Return one sequence, step by step: pointing at a step shows its number, input, score and weight.

    Args:
        seen: Sequences.
        index: Its place among them.
    """
    length = int(seen.lengths[index])
    marks = {int(mark) for mark in seen.relevant_steps[index]}
    shown = _shown_steps(seen, index, length, marks)
    size = _Size()
    across = size.left + (size.width - size.left - size.right) * shown / max(length - 1, 1)
    points = [
        _Point(x, 0.0, _describe_step(seen, index, step), step in marks)
        for x, step in zip(across.tolist(), shown.tolist(), strict=True)
    ]
    values = _values_of(seen, index, length, shown)
    rows = [_place_row(name, numbers, points, size, place) for place, (name, numbers) in enumerate(values.items())]
    size = size._replace(height=len(rows) * (size.row + size.gap) + size.gap)
    left_out = f" {length - len(shown):,} of {length:,} steps are left out." if len(shown) < length else ""
    caption = f"Sequence {seen.numbers[index]}: point at a step to read it. Relevant steps are orange.{left_out}"
    return _render("figure", _render("chart", rows, size), caption)


def _shown_steps(seen: "AttentionRecord", index: int, length: int, marks: set[int]) -> Any:
    """All steps; of very many the relevant ones, those with the largest weights, and some that are evenly spaced."""
    if length <= _MOST_STEPS:
        return np.arange(length)
    even = np.linspace(0, length - 1, _MOST_STEPS // 2).astype(int)
    by_weight = even if seen.weights is None else np.argsort(-seen.weights[index, :length])[: _MOST_STEPS // 4]
    return np.unique(np.concatenate((even, by_weight, sorted(marks)))).astype(int)


def _values_of(seen: "AttentionRecord", index: int, length: int, shown: Any) -> dict[str, Any]:
    """What each row shows of the steps."""
    values = {"input": seen.x[index, shown, 0]}
    if seen.scores is not None:
        values["score"] = seen.scores[index, shown]
    if seen.weights is not None:
        values[f"weight x {length:,}"] = seen.lift[index, shown]
    return values


def _describe_step(seen: "AttentionRecord", index: int, step: int) -> str:
    inputs = zip(seen.task.feature_names, seen.x[index, step], strict=True)
    words = [f"step {step:,}", *(f"{name} {value:.4g}" for name, value in inputs if value)]
    if seen.scores is not None:
        words.append(f"score {seen.scores[index, step]:.4g}")
    if seen.weights is not None:
        words.append(f"weight {seen.weights[index, step]:.4g}, {seen.lift[index, step]:.3g} times an equal one")
    return "; ".join(words)


def _place_row(name: str, values: Any, points: list[_Point], size: _Size, place: int) -> _Row:
    """One row of points, on a linear scale."""
    low = float(values.min())
    high = float(values.max())
    top = size.gap + place * (size.row + size.gap)
    down = top + size.row * (1 - (values - low) / ((high - low) or 1))
    placed = [point._replace(y=y) for point, y in zip(points, down.tolist(), strict=True)]
    return _Row(name, top, top + size.row, low, high, placed)
