"""The pictures of a table of results: the same medians and ranges over seeds as in the table."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffattn.figures.canvas import BLUE, GREEN, GREY, ORANGE, RED, plain_numbers
from ffattn.reports.paper import published
from ffattn.reports.table import UPDATES_PER_EPOCH
from ffattn.runs.cells import Cell, FinishedRun, Spread, spread_of
from ffattn.runs.result import percent

_COLOURS = BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9"  # Okabe and Ito
_CAPTIONS = {
    "lengths": "Above, updates to solve the task, over the seeds that solved it; hollow squares: the paper's epochs of "
    f"{UPDATES_PER_EPOCH:,} updates. Below, test accuracy over all seeds. Medians, with the smallest and the largest.",
    "map": "Test accuracy, the median over all seeds. Colour is what was learned: from nothing beyond the constant "
    "baseline to everything.",
    "cost": "Time of an update, and the largest memory of a run's process.",
    "curves": "Validation accuracy: the median over all seeds, and a band from the smallest to the largest.",
}
_MOST_TICKS = 8
_SHIFT = 0.03  # of T, so that the points of several lines do not cover each other
_MOST_PANELS = 4  # of the map, beside each other


class Line(NamedTuple):
    """What has a colour of its own."""

    model: str
    variant: str

    @property
    def label(self) -> str:
        """Its name in a legend."""
        return " ".join(self).strip()


class _Style(NamedTuple):
    """How a line is drawn."""

    label: str
    colour: str
    shift: float  # what lengths are multiplied by


def draw_all(cells: Sequence[Cell]) -> dict[str, tuple[Figure, str]]:
    """Return every picture of a table, with what it shows in words.

    Args:
        cells: Of any tasks, models and lengths.

    Returns:
        Figures and captions by name: `lengths`, `map`, `cost`, and `curves` if any result has its validations.
    """
    figures = {"lengths": draw_lengths(cells), "map": draw_map(cells), "cost": draw_cost(cells)}
    if any(_has_curve(run) for cell in cells for run in cell.runs):
        figures["curves"] = draw_curves(cells)
    return {name: (figure, _CAPTIONS[name]) for name, figure in figures.items()}


def _tasks(cells: Sequence[Cell]) -> list[str]:
    return sorted({cell.task for cell in cells})


def _lengths(cells: Sequence[Cell]) -> list[int]:
    return sorted({cell.length for cell in cells})


def _line_of(cell: Cell) -> Line:
    return Line(cell.model, cell.variant)


def _colours(cells: Sequence[Cell]) -> dict[Line, str]:
    """Return a colour for each model and variant."""
    lines = sorted({_line_of(cell) for cell in cells})
    return {line: _COLOURS[place % len(_COLOURS)] for place, line in enumerate(lines)}


def _baseline(cells: Sequence[Cell], task: str) -> float:
    return next(cell.baseline for cell in cells if cell.task == task)


def _label_lengths(axes: Axes, cells: Sequence[Cell]) -> None:
    """Put lengths across, those that there are if they are few, and plain numbers instead of powers of ten."""
    axes.set(xscale="log", xlabel="T, steps")
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            plain_numbers(axis)
    if len(_lengths(cells)) <= _MOST_TICKS:
        axes.set_xticks(_lengths(cells))
        axes.minorticks_off()
    axes.tick_params(axis="x", rotation=45)


def draw_lengths(cells: Sequence[Cell]) -> Figure:
    """Draw updates to solve the task, and accuracy, against T; a column for each task.

    Args:
        cells: Of any tasks and models.
    """
    tasks = _tasks(cells)
    colours = _colours(cells)
    figure = Figure(figsize=(1 + 4.5 * len(tasks), 7), layout="constrained", dpi=100)
    columns = figure.subplots(2, len(tasks), squeeze=False, sharex="col").T
    for task, (above, below) in zip(tasks, columns, strict=True):
        group = [cell for cell in cells if cell.task == task]
        for place, (line, colour) in enumerate(colours.items()):
            style = _Style(line.label, colour, 1 + _SHIFT * place)
            own = [cell for cell in group if _line_of(cell) == line]
            _draw_updates(above, own, style)
            _draw_spreads(below, own, [cell.accuracy() for cell in own], style)
        below.axhline(_baseline(group, task), color=GREY, linestyle=":", label="constant baseline")
        above.set(title=task, yscale="log", ylabel="updates to solve it")
        below.set(ylabel="test accuracy", ylim=(-0.03, 1.03))
        for panel in (above, below):
            _label_lengths(panel, group)
            if panel.get_legend_handles_labels()[0]:
                panel.legend(fontsize=8)
    return figure


def _draw_updates(axes: Axes, cells: Sequence[Cell], style: _Style) -> None:
    """Draw the updates to solve a task; hollow: the paper's."""
    solved = [(cell, spread) for cell in cells if (spread := cell.updates_to_solve()) is not None]
    _draw_spreads(axes, [cell for cell, _ in solved], [spread for _, spread in solved], style)
    papers = [(cell.length * style.shift, published(cell.runs[0].result).epochs) for cell in cells]
    points = [(T, epochs * UPDATES_PER_EPOCH) for T, epochs in papers if epochs is not None]
    if points:
        label = f"{style.label}, paper"
        axes.plot(*zip(*points, strict=True), "s", color=style.colour, fillstyle="none", markersize=9, label=label)


def _draw_spreads(axes: Axes, cells: Sequence[Cell], spreads: Sequence[Spread], style: _Style) -> None:
    """Draw medians against T, with bars from the smallest to the largest."""
    if not cells:
        return
    lengths = [cell.length * style.shift for cell in cells]
    medians = [spread.median for spread in spreads]
    below = [spread.median - spread.low for spread in spreads]
    above = [spread.high - spread.median for spread in spreads]
    axes.errorbar(lengths, medians, yerr=(below, above), marker="o", color=style.colour, capsize=3, label=style.label)


def draw_map(cells: Sequence[Cell]) -> Figure:
    """Draw what was learned: tasks by lengths, a panel for each model and variant.

    Args:
        cells: Of any tasks and models.
    """
    lines = list(_colours(cells))
    rows = -(-len(lines) // _MOST_PANELS)
    columns = -(-len(lines) // rows)
    width = 1.2 + columns * (1 + 0.75 * len(_lengths(cells)))
    height = rows * (1.1 + 0.55 * len(_tasks(cells)))
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, line in zip(panels, lines, strict=False):
        image = _draw_panel(axes, cells, line)
    for axes in panels[len(lines) :]:
        axes.axis("off")
    figure.colorbar(image, ax=list(panels), label="learned: 0 is the constant baseline", shrink=0.8)
    return figure


def _draw_panel(axes: Axes, cells: Sequence[Cell], line: Line) -> Any:
    """Draw what a model has learned of each task at each length; returns the image."""
    tasks = _tasks(cells)
    lengths = _lengths(cells)
    learned = np.full((len(tasks), len(lengths)), np.nan)
    for cell in cells:
        if _line_of(cell) == line:
            row = tasks.index(cell.task)
            column = lengths.index(cell.length)
            learned[row, column] = _learned(cell.accuracy().median, _baseline(cells, cell.task))
            _write_accuracy(axes, column, row, cell, learned[row, column])
    names = [f"{task}\nbaseline {percent(_baseline(cells, task))}" for task in tasks]
    axes.set_title(line.label, fontsize=9)
    axes.set_xticks(range(len(lengths)), [f"{T:,}" for T in lengths])
    axes.set_yticks(range(len(tasks)), names, fontsize=8)
    axes.set_xlabel("T, steps")
    axes.tick_params(labelbottom=True)  # there may be no panel below that has them
    return axes.imshow(learned, cmap="cividis", vmin=0, vmax=1, aspect="auto")


def _learned(accuracy: float, baseline: float) -> float:
    """Return 0 for the accuracy of the constant baseline, or less, and 1 for everything."""
    return max(0.0, (accuracy - baseline) / (1 - baseline))


def _write_accuracy(axes: Axes, column: int, row: int, cell: Cell, learned: float) -> None:
    colour = "black" if learned > 0.6 else "white"
    axes.text(column, row, percent(cell.accuracy().median), ha="center", va="center", fontsize=8, color=colour)


def draw_cost(cells: Sequence[Cell]) -> Figure:
    """Draw time of an update and memory against T, over all tasks: a line for each model and variant.

    Args:
        cells: Of any tasks and models.
    """
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=100)
    left, right = figure.subplots(1, 2)
    for line, colour in _colours(cells).items():
        group = [cell for cell in cells if _line_of(cell) == line]
        for axes, measure in ((left, _milliseconds), (right, _megabytes)):
            values = [_median_over_runs(group, T, measure) for T in _lengths(group)]
            axes.plot(_lengths(group), values, "o-", color=colour, label=line.label)
    left.set(ylabel="milliseconds an update", ylim=(0, None))
    right.set(ylabel="MB of memory, at most", ylim=(0, 1.1 * right.get_ylim()[1]))
    for axes in (left, right):
        _label_lengths(axes, cells)
    left.legend(fontsize=8)
    return figure


def _milliseconds(result: dict[str, Any]) -> float:
    return 1000 / float(result["updates_per_second"])


def _megabytes(result: dict[str, Any]) -> float:
    return float(result["peak_memory_mb"])


def _median_over_runs(cells: Sequence[Cell], T: int, measure: Callable[[dict[str, Any]], float]) -> float:
    return median(measure(run.result) for cell in cells if cell.length == T for run in cell.runs)


def _has_curve(run: FinishedRun) -> bool:
    return "validations" in run.result


def draw_curves(cells: Sequence[Cell]) -> Figure:
    """Draw learning curves of the best learning rates: a row for each task, a column for each T.

    Args:
        cells: Of which at least one has a result with its validations.
    """
    known = [cell for cell in cells if any(_has_curve(run) for run in cell.best_runs())]
    tasks = _tasks(known)
    lengths = _lengths(known)
    colours = _colours(cells)
    size = 1 + 2.6 * len(lengths), 0.6 + 2.2 * len(tasks)
    figure = Figure(figsize=size, layout="constrained", dpi=100)
    axes = figure.subplots(len(tasks), len(lengths), squeeze=False, sharey=True)
    for cell in known:
        _draw_curve(axes[tasks.index(cell.task), lengths.index(cell.length)], cell, colours[_line_of(cell)])
    for (row, column), panel in np.ndenumerate(axes):
        panel.set_title(f"{tasks[row]}, T={lengths[column]:,}", fontsize=9)
        panel.axhline(_baseline(known, tasks[row]), color=GREY, linestyle=":")
        panel.set_ylim(-0.03, 1.03)
    for panel in axes[-1]:
        panel.set_xlabel("updates")
    axes[0, 0].legend(fontsize=7)
    return figure


def _draw_curve(axes: Axes, cell: Cell, colour: str) -> None:
    runs = [run for run in cell.best_runs() if _has_curve(run)]
    updates = np.unique(np.concatenate([run.result["validations"]["update"] for run in runs]))
    accuracies = np.array([_accuracies_at(run, updates) for run in runs])
    spreads = [spread_of(column.tolist()) for column in accuracies.T]
    axes.plot(updates, [spread.median for spread in spreads], ".-", color=colour, label=_line_of(cell).label)
    low = [spread.low for spread in spreads]
    high = [spread.high for spread in spreads]
    axes.fill_between(updates, low, high, color=colour, alpha=0.2)


def _accuracies_at(run: FinishedRun, updates: Any) -> Any:
    """Return a run's validation accuracy after some updates; one that has ended keeps its last."""
    validations = run.result["validations"]
    places = np.searchsorted(validations["update"], updates, side="right") - 1
    return np.asarray(validations["accuracy"])[places.clip(0)]
