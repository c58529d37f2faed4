"""The pictures of a table of results."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffattn.figures.attention import BLUE, GREEN, GREY, ORANGE, RED, plain_numbers
from ffattn.reports.paper import published
from ffattn.reports.table import Cell, Run

_COLOURS = BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9"  # Okabe and Ito
_CAPTIONS = {
    "lengths": "Epochs until everything is solved: medians, with the least and the most of all seeds; hollow squares: "
    "the paper's. Below, the share of test sequences solved.",
    "map": "The share of test sequences solved. Colour is what was learned: from nothing beyond the floor of the best "
    "constant answer to everything.",
    "cost": "Time of an update, and the largest memory of a run's process.",
    "curves": "Share of validation sequences solved: the median over seeds, and a band from the least to the most.",
}
_MOST_TICKS = 8
Line = tuple[str, str]  # model and variant


def draw_all(cells: Sequence[Cell]) -> dict[str, tuple[Figure, str]]:
    """Every picture of a table, with what it shows in words.

    Args:
        cells: Of any tasks, models and lengths.

    Returns:
        Figures and captions by name: `lengths`, `map`, `cost`, and `curves` if any result has its validations.
    """
    figures = {"lengths": draw_lengths(cells), "map": draw_map(cells), "cost": draw_cost(cells)}
    if any("validations" in run.result for cell in cells for run in cell.runs):
        figures["curves"] = draw_curves(cells)
    return {name: (figure, _CAPTIONS[name]) for name, figure in figures.items()}


def _tasks(cells: Sequence[Cell]) -> list[str]:
    return sorted({cell.key[0] for cell in cells})


def _lines(cells: Sequence[Cell]) -> dict[Line, str]:
    """A colour for each model and variant."""
    names = sorted({(cell.key[1], cell.key[3]) for cell in cells})
    return {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}


def _name(line: Line) -> str:
    return " ".join(line).strip()


def _plain(axes: Axes, cells: Sequence[Cell]) -> None:
    """Lengths across, those that there are if they are few, and plain numbers instead of powers of ten."""
    lengths = sorted({cell.key[2] for cell in cells})
    axes.set(xscale="log", xlabel="T, steps")
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            plain_numbers(axis)
    if len(lengths) <= _MOST_TICKS:
        axes.set_xticks(lengths)
        axes.minorticks_off()
    axes.tick_params(axis="x", rotation=45)


def _of(cells: Sequence[Cell], task: str, line: Line) -> list[Cell]:
    """The cells of a task, model and variant, by T."""
    return [cell for cell in cells if (cell.key[0], cell.key[1], cell.key[3]) == (task, *line)]


def _floor(cells: Sequence[Cell], task: str) -> float:
    first = next(cell for cell in cells if cell.key[0] == task)
    return float(first.runs[0].result["test"]["baseline"]["accuracy"])


def _solved(cell: Cell) -> float:
    """The mean share of test sequences solved over seeds, each with its best learning rate."""
    shares = [run.result["test"]["accuracy"] for run in cell.winners()]
    return float(sum(shares) / len(shares))


def draw_lengths(cells: Sequence[Cell]) -> Figure:
    """Epochs until everything is solved, and the share solved, against T; a column for each task.

    Args:
        cells: Of any tasks and models.
    """
    tasks, lines = _tasks(cells), _lines(cells)
    figure = Figure(figsize=(1 + 4.5 * len(tasks), 7), layout="constrained", dpi=100)
    axes = figure.subplots(2, len(tasks), squeeze=False, sharex="col")
    for column, task in enumerate(tasks):
        for place, (line, colour) in enumerate(lines.items()):
            group = _of(cells, task, line)
            _draw_epochs(axes[0, column], group, _name(line), colour, 1 + 0.03 * place)
            if group:
                shares = [_solved(cell) for cell in group]
                axes[1, column].plot([cell.key[2] for cell in group], shares, "o-", color=colour, label=_name(line))
        axes[0, column].set(title=task, yscale="log", ylabel="epochs to solve it")
        axes[1, column].set(ylabel="share solved at the end", ylim=(-0.03, 1.03))
        for panel in axes[:, column]:
            _plain(panel, [cell for cell in cells if cell.key[0] == task])
        axes[1, column].axhline(_floor(cells, task), color=GREY, linestyle=":", label="floor: the best constant answer")
        axes[1, column].legend(fontsize=8)
        if axes[0, column].get_legend_handles_labels()[0]:
            axes[0, column].legend(fontsize=8)
    return figure


def _draw_epochs(axes: Axes, line: Sequence[Cell], name: str, colour: str, shift: float) -> None:
    """Medians with the smallest and the largest of the seeds that solved it; hollow: the paper's."""
    points = []
    for cell in line:
        epochs = sorted(run.epochs for run in cell.winners() if run.is_solved)
        if epochs:
            middle = median(epochs)
            points.append((cell.key[2] * shift, middle, middle - epochs[0], epochs[-1] - middle))
    if points:
        T, middles, below, above = zip(*points, strict=True)
        axes.errorbar(T, middles, yerr=(below, above), marker="o", color=colour, capsize=3, label=name)
    known = [(cell.key[2] * shift, published(cell.runs[0].result)) for cell in line]
    whole = [(T, value) for T, value in known if isinstance(value, int)]
    if whole:
        axes.plot(*zip(*whole, strict=True), "s", color=colour, fillstyle="none", markersize=9, label=f"{name}, paper")


def draw_map(cells: Sequence[Cell]) -> Figure:
    """What was learned: tasks by lengths, a panel for each model and variant.

    Args:
        cells: Of any tasks and models.
    """
    tasks, lines, lengths = _tasks(cells), list(_lines(cells)), sorted({cell.key[2] for cell in cells})
    rows = -(-len(lines) // 4)
    columns = -(-len(lines) // rows)
    size = 1.2 + columns * (1 + 0.75 * len(lengths)), rows * (1.1 + 0.55 * len(tasks))
    figure = Figure(figsize=size, layout="constrained", dpi=100)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, line in zip(panels, lines, strict=False):
        learned = np.full((len(tasks), len(lengths)), np.nan)
        for cell in (cell for task in tasks for cell in _of(cells, task, line)):
            row, column, floor = tasks.index(cell.key[0]), lengths.index(cell.key[2]), _floor(cells, cell.key[0])
            learned[row, column] = max(0.0, (_solved(cell) - floor) / (1 - floor))
            _write_share(axes, column, row, cell, learned[row, column])
        image = axes.imshow(learned, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axes.set_title(_name(line), fontsize=9)
        axes.set_xticks(range(len(lengths)), [f"{T:,}" for T in lengths])
        axes.set_yticks(range(len(tasks)), [f"{task}\nfloor {_floor(cells, task):.1%}" for task in tasks], fontsize=8)
        axes.set_xlabel("T, steps")
        axes.tick_params(labelbottom=True)  # there may be no panel below that has them
    for axes in panels[len(lines) :]:
        axes.axis("off")
    figure.colorbar(image, ax=list(panels), label="learned: 0 is the floor", shrink=0.8)
    return figure


def _write_share(axes: Axes, column: int, row: int, cell: Cell, learned: float) -> None:
    colour = "black" if learned > 0.6 else "white"
    axes.text(column, row, f"{_solved(cell):.1%}", ha="center", va="center", fontsize=8, color=colour)


def draw_cost(cells: Sequence[Cell]) -> Figure:
    """Time of an update and memory against T, over all tasks: a line for each model and variant.

    Args:
        cells: Of any tasks and models.
    """
    figure = Figure(figsize=(10, 4), layout="constrained", dpi=100)
    left, right = figure.subplots(1, 2)
    what = (left, "updates_per_second", _milliseconds), (right, "peak_memory_mb", float)
    for line, colour in _lines(cells).items():
        group = [cell for cell in cells if (cell.key[1], cell.key[3]) == line]
        lengths = sorted({cell.key[2] for cell in group})
        for axes, name, convert in what:
            values = [_median_of(group, T, name, convert) for T in lengths]
            axes.plot(lengths, values, "o-", color=colour, label=_name(line))
    left.set(ylabel="milliseconds an update", ylim=(0, None))
    right.set(ylabel="MB of memory, at most", ylim=(0, 1.1 * right.get_ylim()[1]))
    for axes in (left, right):
        _plain(axes, cells)
    left.legend(fontsize=8)
    return figure


def _milliseconds(updates_per_second: float) -> float:
    return 1000 / updates_per_second


def _median_of(group: Sequence[Cell], T: int, name: str, convert: Callable[[float], float]) -> float:
    return median(convert(run.result[name]) for cell in group if cell.key[2] == T for run in cell.runs)


def draw_curves(cells: Sequence[Cell]) -> Figure:
    """Learning curves of the best learning rates: a row for each task, a column for each T.

    Args:
        cells: Of which at least one has a result with its validations.
    """
    known = [cell for cell in cells if any("validations" in run.result for run in cell.winners())]
    tasks, lengths, lines = _tasks(known), sorted({cell.key[2] for cell in known}), _lines(cells)
    size = 1 + 2.6 * len(lengths), 0.6 + 2.2 * len(tasks)
    figure = Figure(figsize=size, layout="constrained", dpi=100)
    axes = figure.subplots(len(tasks), len(lengths), squeeze=False, sharey=True)
    for cell in known:
        task, model, T, variant = cell.key
        panel = axes[tasks.index(task), lengths.index(T)]
        updates, low, middle, high = _band([run for run in cell.winners() if "validations" in run.result])
        colour = lines[model, variant]
        panel.plot(updates, middle, ".-", color=colour, label=_name((model, variant)))
        panel.fill_between(updates, low, high, color=colour, alpha=0.2)
    for (row, column), panel in np.ndenumerate(axes):
        panel.set_title(f"{tasks[row]}, T={lengths[column]:,}", fontsize=9)
        panel.axhline(_floor(known, tasks[row]), color=GREY, linestyle=":")
        panel.set_ylim(-0.03, 1.03)
    for panel in axes[-1]:
        panel.set_xlabel("updates")
    axes[0, 0].legend(fontsize=7)
    return figure


def _band(runs: Sequence[Run]) -> tuple[Any, Any, Any, Any]:
    """Updates, and the least, the median and the most solved there; a run that has ended keeps its last share."""
    updates = np.unique(np.concatenate([run.result["validations"]["update"] for run in runs]))
    shares = np.array(list(_at(runs, updates)))
    return updates, shares.min(axis=0), np.median(shares, axis=0), shares.max(axis=0)


def _at(runs: Sequence[Run], updates: Any) -> Iterator[Any]:
    for run in runs:
        validations = run.result["validations"]
        places = np.searchsorted(validations["update"], updates, side="right") - 1
        yield np.asarray(validations["accuracy"])[places.clip(0)]
