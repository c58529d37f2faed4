"""The picture of a table of results."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffattn.cells import Cell
from ffattn.published import published

_COLOURS = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"  # Okabe and Ito


def draw(cells: Sequence[Cell]) -> Figure:
    """Epochs until everything is solved, and the share solved, against T; a column for each task.

    Args:
        cells: Of any tasks and models.
    """
    tasks = sorted({cell.key[0] for cell in cells})
    figure = Figure(figsize=(1 + 4.5 * len(tasks), 7), layout="constrained", dpi=100)
    axes = figure.subplots(2, len(tasks), squeeze=False, sharex="col")
    names = sorted({(cell.key[1], cell.key[3]) for cell in cells})
    for column, task in enumerate(tasks):
        for place, name in enumerate(names):
            line = [cell for cell in cells if (cell.key[0], cell.key[1], cell.key[3]) == (task, *name)]
            colour = _COLOURS[place % len(_COLOURS)]
            _draw_epochs(axes[0, column], line, " ".join(name), colour, 1 + 0.03 * place)
            _draw_shares(axes[1, column], line, colour)
        axes[0, column].set(title=task, xscale="log", yscale="log", ylabel="epochs to solve it")
        axes[1, column].set(xlabel="T, steps", ylabel="share solved after all epochs", ylim=(-0.03, 1.03))
        floor = next(cell for cell in cells if cell.key[0] == task).runs[0].result["test"]["floor"]["solved"]
        axes[1, column].axhline(floor, color="#7F7F7F", linestyle=":", label="floor: the best constant answer")
        axes[1, column].legend(fontsize=8)
        axes[0, column].legend(fontsize=8)
    return figure


def _draw_epochs(axes: Axes, line: Sequence[Cell], name: str, colour: str, shift: float) -> None:
    """Medians with the smallest and the largest of the seeds that solved it; hollow: the paper's."""
    points = []
    for cell in line:
        epochs = sorted(run.result["epochs"] for run in cell.winners() if run.is_solved)
        if epochs:
            middle = (epochs[(len(epochs) - 1) // 2] + epochs[len(epochs) // 2]) / 2
            points.append((cell.key[2] * shift, middle, middle - epochs[0], epochs[-1] - middle))
    if points:
        T, middles, below, above = zip(*points, strict=True)
        axes.errorbar(T, middles, yerr=(below, above), marker="o", color=colour, capsize=3, label=name)
    known = [(cell.key[2] * shift, published(cell.runs[0].result)) for cell in line]
    whole = [(T, value) for T, value in known if isinstance(value, int)]
    if whole:
        axes.plot(*zip(*whole, strict=True), "s", color=colour, fillstyle="none", markersize=9, label=f"{name}, paper")


def _draw_shares(axes: Axes, line: Sequence[Cell], colour: str) -> None:
    shares = [(cell.key[2], [run.result["test"]["solved"] for run in cell.winners()]) for cell in line]
    if shares:
        axes.plot([T for T, _ in shares], [sum(values) / len(values) for _, values in shares], "o-", color=colour)
