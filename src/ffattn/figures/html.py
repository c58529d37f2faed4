"""Web pages that are one file: they open from a disk, without a network, and every text in them is escaped."""

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ffattn.figures.attention import AttentionRecord

_MOST_STEPS = 2000  # of one sequence that can be pointed at; more would make a slow page
_WIDTH, _ROW, _GAP, _LEFT = 900, 130, 28, 60  # pixels of the interactive picture
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title><style>
:root {{ color-scheme: light dark; --mark: #E69F00; --point: #0072B2; --line: #7F7F7F; }}
@media (prefers-color-scheme: dark) {{ :root {{ --point: #56B4E9; }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid var(--line); }}
img {{ max-width: 100%; background: white; }} figure {{ margin: 2em 0; }} figcaption {{ color: var(--line); }}
.slides {{ position: relative; border: none; margin: 2em 0; padding: 0; }} .slides legend {{ font-weight: bold; }}
.slides label {{ font-size: 12px; margin-right: .6em; }} .slides img {{ display: none; }}
.slides input:checked ~ img {{ display: block; order: 1; width: 100%; }}
.slides {{ display: flex; flex-wrap: wrap; }} .slides label {{ display: contents; }} .slides label > * {{ order: 0; }}
.wide {{ overflow-x: auto; }} code {{ font-size: 12px; white-space: nowrap; user-select: all; }}
svg {{ max-width: 100%; height: auto; }} svg text {{ fill: currentColor; font-size: 12px; }}
circle {{ fill: var(--point); }} circle.mark {{ fill: var(--mark); }}
circle:hover {{ stroke: currentColor; stroke-width: 3; }}
.axis {{ stroke: var(--line); fill: none; }}
</style></head><body><h1>{title}</h1>
{body}
</body></html>
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A page.

    Args:
        title: Its heading, as plain text.
        parts: HTML, as the functions below make it.
    """
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def table(rows: Mapping[str, Any]) -> str:
    """Names and values."""
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f"<table>{''.join(cells)}</table>"


def grid(rows: Sequence[Mapping[str, str]], codes: Collection[str] = ()) -> str:
    """A table with a heading for each column.

    Args:
        rows: Values by column, the same columns in each.
        codes: Columns that hold commands.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = (
        "".join(
            f"<td>{f'<code>{escape(text)}</code>' if name in codes else escape(text)}</td>"
            for name, text in row.items()
        )
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def picture(figure: "Figure", caption: str) -> str:
    """A matplotlib figure, inside the page.

    Args:
        figure: The picture.
        caption: What it shows, in plain text, for those who cannot see it, too.
    """
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return f"<figure>{_image(file.getvalue(), caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(png: bytes, words: str) -> str:
    return f'<img alt="{escape(words, quote=True)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def slides(name: str, pictures: Mapping[str, bytes]) -> str:
    """Pictures of which one is shown at a time: a row of buttons chooses it, and so do the arrow keys.

    Args:
        name: Of the row, which no other on the page has; plain text.
        pictures: PNG files by what their buttons say, at least one; the last is shown first.
    """
    group, parts = escape(name, quote=True), []
    for place, (label, png) in enumerate(pictures.items(), start=1):
        chosen = " checked" if place == len(pictures) else ""
        button = f'<input type="radio" name="{group}"{chosen} aria-label="{escape(f"{name}, {label}", quote=True)}">'
        parts.append(f"<label>{button}<span>{escape(label)}</span>{_image(png, f'{name}, {label}')}</label>")
    return f'<fieldset class="slides"><legend>{escape(name)}</legend>{"".join(parts)}</fieldset>'


def steps_of(seen: "AttentionRecord", index: int = 0) -> str:
    """One sequence, step by step: pointing at a step shows its number, input, score and weight.

    Args:
        seen: Sequences.
        index: Which one.
    """
    length, marks = int(seen.lengths[index]), {int(mark) for mark in seen.relevant_steps[index]}
    shown = _shown_steps(seen, index, length, marks)
    rows: list[tuple[str, Any]] = [("input", seen.x[index, shown, 0])]
    if seen.scores is not None:
        rows.append(("score", seen.scores[index, shown]))
    if seen.weights is not None:
        rows.append((f"weight x {length:,}", seen.lift[index, shown]))
    words = [escape(_describe(seen, index, int(step))) for step in shown]
    across = _LEFT + (_WIDTH - _LEFT - 10) * shown / max(length - 1, 1)
    points = [_Point(x, text, int(step) in marks) for x, text, step in zip(across, words, shown, strict=True)]
    parts = [_row(_GAP + place * (_ROW + _GAP), name, values, points) for place, (name, values) in enumerate(rows)]
    height = len(rows) * (_ROW + _GAP) + _GAP
    left_out = f" {length - len(shown):,} of {length:,} steps are left out." if len(shown) < length else ""
    caption = f"Sequence {index}: point at a step to read it. Relevant steps are orange.{left_out}"
    svg = f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">{"".join(parts)}</svg>'
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


class _Point(NamedTuple):
    """A step: its place across, what it says (HTML), and whether it is marked."""

    x: float
    text: str
    is_marked: bool


def _shown_steps(seen: "AttentionRecord", index: int, length: int, marks: set[int]) -> Any:
    """All steps; of very many the relevant ones, those with the largest weights, and some that are evenly spaced."""
    if length <= _MOST_STEPS:
        return np.arange(length)
    even = np.linspace(0, length - 1, _MOST_STEPS // 2).astype(int)
    by_weight = even if seen.weights is None else np.argsort(-seen.weights[index, :length])[: _MOST_STEPS // 4]
    return np.unique(np.concatenate((even, by_weight, sorted(marks)))).astype(int)


def _describe(seen: "AttentionRecord", index: int, step: int) -> str:
    inputs = zip(seen.task.feature_names, seen.x[index, step], strict=True)
    words = [f"step {step:,}", *(f"{name} {value:.4g}" for name, value in inputs if value)]
    if seen.scores is not None:
        words.append(f"score {seen.scores[index, step]:.4g}")
    if seen.weights is not None:
        words.append(f"weight {seen.weights[index, step]:.4g}, {seen.lift[index, step]:.3g} times an equal one")
    return "; ".join(words)


def _row(top: int, name: str, values: Any, points: list[_Point]) -> str:
    """One row of points, on a linear scale."""
    low, high = float(values.min()), float(values.max())
    down = top + _ROW * (1 - (values - low) / ((high - low) or 1))
    circles = []
    for point, y in zip(points, down, strict=True):
        kind = ' class="mark" r="5"' if point.is_marked else ' r="3"'
        circles.append(f'<circle{kind} cx="{point.x:.1f}" cy="{y:.1f}"><title>{point.text}</title></circle>')
    frame = f'<path class="axis" d="M{_LEFT - 5} {top}V{top + _ROW}H{_WIDTH}"/>'
    labels = (
        f'<text x="{_LEFT}" y="{top - 8}">{escape(name)}</text>'
        f'<text x="0" y="{top + 10}">{high:.3g}</text><text x="0" y="{top + _ROW}">{low:.3g}</text>'
    )
    return frame + labels + "".join(circles)
