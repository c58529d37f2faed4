"""Pictures of answers against targets."""

import numpy as np
from matplotlib.figure import Figure

from ffattn.figures.canvas import BLUE, GREEN, RED, new_figure, shortened
from ffattn.figures.record import AttentionRecord
from ffattn.tasks import GivenTask, Regression

_MOST_TARGETS = 4  # that have pictures of their own
_MOST_NAMES = 30  # of classes
_MOST_LETTERS = 30  # of names beside each other, in one line


def draw_answers(record: AttentionRecord) -> Figure:
    """Answers against targets with the band of right ones, and their errors; or a confusion matrix.

    Args:
        record: Sequences.
    """
    if isinstance(record.task, Regression | GivenTask) and not record.task.is_classification:
        return _draw_numbers(record, record.task.tolerance)
    return _draw_confusion(record)


def _draw_numbers(record: AttentionRecord, tolerance: float) -> Figure:
    """A row of two pictures for each target, in its unit."""
    targets = record.targets[:_MOST_TARGETS]
    figure = new_figure(record.title, height=1.5 + 3 * len(targets))
    rows = figure.subplots(len(targets), 2, squeeze=False)
    sides = zip(rows, targets, record.in_unit(record.y).T, record.in_unit(record.prediction).T, strict=False)
    for (left, right), target, y, answers in sides:
        band = tolerance * target.scale
        ends = np.array([min(y.min(), answers.min()), max(y.max(), answers.max())])
        left.fill_between(ends, ends - band, ends + band, color=GREEN, alpha=0.3, label=f"within {band:.3g}")
        for chosen, colour, name in ((record.is_correct, BLUE, "right"), (~record.is_correct, RED, "wrong")):
            left.plot(y[chosen], answers[chosen], ".", color=colour, markersize=3, label=name)
        named = f" {shortened(target.name)}" if isinstance(record.task, GivenTask) else ""
        left.set_xlabel(f"target{named}", parse_math=False)
        left.set_ylabel("answer")
        left.legend(fontsize=8, markerscale=2)
        right.hist(answers - y, bins=50, color=BLUE)
        right.axvspan(-band, band, color=GREEN, alpha=0.3)
        right.set(xlabel="answer - target", ylabel="sequences")
    return figure


def _draw_confusion(record: AttentionRecord) -> Figure:
    classes = record.prediction.shape[1]
    figure = new_figure(record.title, height=float(np.clip(3 + 0.25 * classes, 4.5, 11)))
    axes = figure.subplots()
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (record.y, record.prediction.argmax(axis=1)), 1)
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts if classes <= _MOST_NAMES else counts[:0]):
        axes.text(column, row, str(count), ha="center", va="center", color="w" if 2 * count > counts.max() else "k")
    axes.set(xlabel="answer", ylabel="target")
    named = range(0, classes, -(-classes // _MOST_NAMES))
    names = [shortened(record.task.class_names[number]) for number in named]
    is_wide = sum(map(len, names)) > _MOST_LETTERS
    axes.set_xticks(named, names, rotation=90 if is_wide else 0, fontsize=8, parse_math=False)
    axes.set_yticks(named, names, fontsize=8, parse_math=False)
    return figure
