"""Pictures of what attention does with sequences whose relevant steps are known; matplotlib is needed for these alone.

Every picture is a matplotlib figure, which needs no display.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ffattn.figures.answers import draw_answers
from ffattn.figures.canvas import BLUE, GREEN, GREY, ORANGE, RED, in_digits, new_figure, plain_numbers, shortened
from ffattn.figures.record import Array, AttentionRecord, to_numpy
from ffattn.models import FeedForwardNetwork, Network
from ffattn.tasks import GivenTask, Task

_LINES = BLUE, ORANGE, GREEN, RED
_AROUND = 12  # steps that are shown before and after a relevant one
_BUCKETS = 10


def _mark(axes: Axes, relevant_steps: Array) -> None:
    for i, step in enumerate(sorted(relevant_steps)):
        axes.axvline(step, color=ORANGE, alpha=0.6, linewidth=3, zorder=0, label=None if i else "a relevant step")


def draw_sequence(record: AttentionRecord, index: int = 0) -> Figure:
    """One sequence over its steps: inputs, scores, and weights relative to equal ones on a logarithmic scale.

    Args:
        record: Sequences.
        index: Its place among them.
    """
    steps = np.arange(record.lengths[index])
    relevant = record.relevant_steps[index]
    inputs = record.x[index, : len(steps)]
    scores = None if record.scores is None else record.scores[index, : len(steps)]
    rows = 1 + (record.weights is not None) + (scores is not None)
    target, answer = _in_words(record, index)
    title = f"Sequence {record.numbers[index]}: target {target}, answer {answer}\n{record.title}"
    figure = new_figure(title, height=2 + 1.6 * rows)
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    _draw_inputs(axes[0], record.task, inputs)
    point: dict[str, Any] = {"linestyle": "none", "marker": ".", "markersize": 4 if len(steps) < 1000 else 1.5}
    if scores is not None:
        axes[1].plot(steps, scores, color=BLUE, **point)
        axes[1].plot(relevant, scores[relevant], "o", color=RED, markersize=5)
        axes[1].set_ylabel("score")
    if record.weights is not None:
        lift = record.lift[index, : len(steps)]
        axes[-1].plot(steps, np.where(lift > 0, lift, np.nan), color=BLUE, **point)
        axes[-1].plot(relevant, lift[relevant], "o", color=RED, markersize=5)
        axes[-1].set_yscale("log")
        plain_numbers(axes[-1].yaxis)
        axes[-1].axhline(1, color=GREY, linestyle=":", label="equal weights")
        axes[-1].set_ylabel(f"weight x {len(steps):,}")
        if (lift == 0).any():
            axes[-1].set_title(f"{(lift == 0).sum():,} weights are zero, and not shown", fontsize=8, loc="right")
    for part in axes:
        _mark(part, relevant)
    axes[-1].set_xlabel("step")
    axes[-1].legend(loc="best", fontsize=8)
    return figure


def draw_example(task: Task, seed: int = 0) -> Figure:
    """Draw a sequence of a task with its target, and its relevant steps.

    Args:
        task: The task.
        seed: Of the stream.
    """
    batch = task.example(1, seed)
    length = int(batch.lengths[0])
    target = batch.y[0].tolist()
    words = f"class {target}" if task.is_classification else ", ".join(f"{value:.3f}" for value in target)
    figure = new_figure(f"{task.summary()}: the target is {words}", height=3.0)
    axes = figure.subplots()
    _draw_inputs(axes, task, batch.x[0, :length].numpy())
    _mark(axes, batch.relevant_steps[0].numpy())
    axes.set_xlabel("step")
    return figure


def _draw_inputs(axes: Axes, task: Task, inputs: Array) -> None:
    if task.num_features <= len(_LINES):
        for feature, (name, colour) in enumerate(zip(task.feature_names, _LINES, strict=False)):
            size = 4 if len(inputs) < 1000 else 1.5
            axes.plot(inputs[:, feature], ".", color=colour, markersize=size, label=name)
        axes.legend(loc="best", fontsize=8, markerscale=2)
        axes.set_ylabel("input, standardized" if isinstance(task, GivenTask) else "input")
    else:  # one-hot, or many
        most = np.abs(inputs).max()
        scale = {"cmap": "Greys", "vmin": 0} if inputs.min() >= 0 else {"cmap": "PuOr", "vmin": -most, "vmax": most}
        axes.imshow(inputs.T, aspect="auto", interpolation="nearest", **scale)
        axes.set_yticks(range(task.num_features), task.feature_names, fontsize=7)


def _in_words(record: AttentionRecord, index: int) -> tuple[str, str]:
    if record.task.is_classification:
        names = record.task.class_names
        classes = record.y[index], record.prediction[index].argmax()
        return tuple(f"class {shortened(names[number], 60)}" for number in classes)  # type: ignore[return-value]
    scales = [target.scale for target in record.targets]
    sides = (record.in_unit(values[index]) for values in (record.y, record.prediction))
    return tuple(", ".join(map(in_digits, side, scales)) for side in sides)  # type: ignore[return-value]


def draw_heat_map(record: AttentionRecord, most: int = 40) -> Figure:
    """Draw weights around relevant steps, relative to equal ones: a row for each sequence, the longest at the bottom.

    Args:
        record: Sequences of a network with attention, with relevant steps.
        most: How many are shown.
    """
    assert record.weights is not None
    order = np.argsort(record.lengths, kind="stable")[:: max(1, len(record.lengths) // most)][:most].tolist()
    count = record.relevant_steps.shape[1]
    figure = new_figure(f"Weight x length, around the relevant steps\n{record.title}", height=5.5)
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    centres = record.relevant_steps[order].T.tolist()
    windows = [np.stack(list(map(partial(_window, record), order, steps))) for steps in centres]
    shown = np.concatenate([window[np.isfinite(window) & (window > 0)] for window in windows])
    low, high = (shown.min(), shown.max()) if len(shown) else (0.1, 10)
    norm = LogNorm(min(low, 0.9), max(high, 1.1))
    for number, (part, window) in enumerate(zip(axes, windows, strict=True)):
        part.set_facecolor("#DDDDDD")
        extent = (-_AROUND - 0.5, _AROUND + 0.5, len(order) - 0.5, -0.5)
        image = part.imshow(
            np.where(window > 0, window, np.nan), norm=norm, cmap="cividis", aspect="auto", extent=extent
        )
        part.set_xlabel(f"steps from relevant step {number + 1}")
    axes[0].set_ylabel("sequence, by length")
    label = "weight x length; 1: equal weights; grey: zero, or outside"
    bar = figure.colorbar(image, ax=list(axes), label=label)
    plain_numbers(bar.ax.yaxis)
    return figure


def _window(record: AttentionRecord, row: int, centre: int) -> Array:
    """The lift around a step; NaN outside of the sequence."""
    steps = np.arange(centre - _AROUND, centre + _AROUND + 1)
    inside = (steps >= 0) & (steps < record.lengths[row])
    return np.where(inside, record.lift[row, np.where(inside, steps, 0)], np.nan)


@torch.inference_mode()
def draw_score_function(network: FeedForwardNetwork, task: Task) -> Figure:
    """The function that was learned: the score of a step, which depends on nothing but the step.

    Args:
        network: Without position features, on which a score would depend, too.
        task: Gives the features: a value and a marker, one-hot symbols, or columns of a file.
    """
    parameter = next(network.parameters())
    figure = new_figure("The score of a step, as a function of its input")
    axes = figure.subplots()
    scores_of = partial(_scores_of, network, parameter)
    if isinstance(task, GivenTask):
        _draw_each_feature(axes, task, scores_of)
    elif task.num_features == 2:
        values = np.linspace(-1, 1, 201, dtype=np.float32)
        for marker, colour in zip((1, 0, -1), (ORANGE, BLUE, GREEN), strict=True):
            inputs = np.stack((values, np.full_like(values, marker)), axis=1)
            axes.plot(values, scores_of(inputs), color=colour, label=f"{task.feature_names[1]} {marker}")
        axes.set_xlabel(task.feature_names[0])
        axes.legend()
    else:
        axes.bar(task.feature_names, scores_of(np.eye(task.num_features, dtype=np.float32)), color=BLUE)
    axes.axhline(0, color=GREY, linestyle=":")
    axes.set_ylabel("score")
    return figure


def _draw_each_feature(axes: Axes, task: GivenTask, scores_of: Callable[[Array], Array]) -> None:
    """One line for each of the features that change the score most, the others being at their mean."""
    values = np.linspace(-3, 3, 121, dtype=np.float32)
    inputs = values[:, None, None] * np.eye(task.num_features, dtype=np.float32)
    scores = np.stack([scores_of(inputs[:, feature]) for feature in range(task.num_features)])
    for feature, colour in zip(np.argsort(-np.ptp(scores, axis=1)), _LINES, strict=False):
        axes.plot(values, scores[feature], color=colour, label=task.feature_names[feature])
    axes.set_xlabel("one feature, in standard deviations; the others at their mean")
    axes.legend(fontsize=8, title="which matter most", title_fontsize=8)


def _scores_of(network: FeedForwardNetwork, parameter: torch.Tensor, inputs: Array) -> Array:
    x = torch.from_numpy(inputs).to(parameter)[:, None]  # sequences of one step
    inputs_and_position = network.position(x, torch.ones(len(x), dtype=torch.long, device=x.device))
    _, _, scores = network.attention.forward_with_weights(inputs_and_position)
    assert scores is not None
    return to_numpy(scores)[:, 0]


def draw_lengths(record: AttentionRecord) -> Figure:
    """Draw accuracy by length, with the constant baseline.

    Args:
        record: Sequences.
    """
    figure = new_figure(record.title, height=3.5)
    axes = figure.subplots()
    edges = np.unique(np.linspace(record.lengths.min(), record.lengths.max() + 1, _BUCKETS + 1).astype(int))
    places = np.digitize(record.lengths, edges) - 1
    middles = []
    shares = []
    for place in np.unique(places):
        middles.append((edges[place] + edges[place + 1] - 1) / 2)
        shares.append(record.is_correct[places == place].mean())
    axes.plot(middles, shares, "o-", color=BLUE, label="accuracy")
    axes.axhline(record.task.baseline().accuracy, color=GREY, linestyle=":", label="constant baseline")
    axes.set(xlabel="length", ylabel="accuracy", ylim=(-0.03, 1.03))
    axes.legend(fontsize=8)
    return figure


def draw_all(network: Network, record: AttentionRecord) -> dict[str, Figure]:
    """Every picture that there is of a network.

    Args:
        network: In evaluation mode.
        record: What it did.

    Returns:
        Figures by name: `sequence`, `answers`, `lengths`; with attention `heat_map`, and for feed-forward attention
        without position features `score_function`.
    """
    figures = {"sequence": draw_sequence(record), "answers": draw_answers(record), "lengths": draw_lengths(record)}
    if record.weights is not None and record.relevant_steps.shape[1]:
        figures["heat_map"] = draw_heat_map(record)
    if isinstance(network, FeedForwardNetwork) and record.scores is not None and not network.position.num_features:
        figures["score_function"] = draw_score_function(network, record.task)
    return figures
