"""Pictures of what attention does with sequences whose relevant steps are known; matplotlib is needed for these alone.

Every picture is a matplotlib figure, which needs no display. Colours are those of Okabe and Ito, which colour-blind
people can tell apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from ffattn.inference.metrics import attention_metrics, percent
from ffattn.models import Answer, Network
from ffattn.models.feed_forward import FeedForwardNetwork
from ffattn.ops.reference import full_precision
from ffattn.rng.streams import Stream
from ffattn.tasks import GivenTask, Regression, Task
from ffattn.tasks.batch import Batch

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
GREY = "#7F7F7F"
RED = "#D55E00"
_LINES = BLUE, ORANGE, GREEN, RED
_NAME = 16  # letters of a name
_AROUND = 12  # steps that are shown before and after a relevant one
_LETTERS = 40  # that fit below a picture, side by side
_BUCKETS = 10
Array = NDArray[Any]


@dataclass
class AttentionRecord:
    """What a network did with some sequences, as NumPy arrays.

    Attributes:
        task: Made them, and judges the answers.
        x: Inputs, (batch, time, feature).
        lengths: How many steps of each are real, (batch,).
        relevant_steps: Steps that the target depends on, (batch, relevant).
        y: Targets.
        prediction: Answers, (batch, output).
        is_correct: Which answers are right, (batch,).
        error: Mean error.
        weights: Attention weights, (batch, time); None for a network without attention.
        scores: What the weights are made from, likewise; None too for equal weights.
        title: What is known of the network: task, length, accuracy, attention mass.
    """

    task: Task
    x: Array
    lengths: Array
    relevant_steps: Array
    y: Array
    prediction: Array
    is_correct: Array
    error: float
    weights: Array | None
    scores: Array | None
    title: str

    @property
    def lift(self) -> Array:
        """Weights relative to equal ones, (batch, time): 1 is what no attention would give."""
        assert self.weights is not None
        return self.weights * self.lengths[:, None]


def record_answers(task: Task, batch: Batch, answer: Answer) -> AttentionRecord:
    """Gather what pictures are made of.

    Args:
        task: Made the batch.
        batch: Sequences.
        answer: What a network answered, with weights and scores if it has any.
    """
    prediction = full_precision(answer.prediction)
    is_correct = task.is_correct(prediction, batch.y)
    words = [task.summary(), f"accuracy {percent(float(is_correct.double().mean()))} on {len(is_correct)} sequences"]
    if answer.weights is not None and answer.scores is not None and batch.relevant_steps.shape[1]:
        found = attention_metrics(answer.weights, answer.scores, batch.lengths, batch.relevant_steps)
        means = {name: float(values.double().mean()) for name, values in found.items()}
        lift = np.format_float_positional(means["lift"], 3, fractional=False, trim="-")
        words += [f"attention mass {means['attention_mass']:.2%}, {lift} times that of equal weights"]
    return AttentionRecord(
        task,
        x=_numpy(batch.x),
        lengths=_numpy(batch.lengths),
        relevant_steps=_numpy(batch.relevant_steps),
        y=_numpy(batch.y),
        prediction=_numpy(prediction),
        is_correct=_numpy(is_correct),
        error=float(task.error(prediction, batch.y).mean()),
        weights=None if answer.weights is None else _numpy(answer.weights),
        scores=None if answer.scores is None else _numpy(answer.scores),
        title="; ".join(words),
    )


def _numpy(tensor: torch.Tensor) -> Array:
    tensor = full_precision(tensor) if tensor.is_floating_point() else tensor  # NumPy has no bfloat16
    array: Array = tensor.detach().cpu().numpy()
    return array


@torch.inference_mode()
def record_attention(network: Network, task: Task, stream: Stream, sequences: int = 100) -> AttentionRecord:
    """Let a network answer some sequences.

    Args:
        network: In evaluation mode.
        task: Makes the sequences.
        stream: Seed and split.
        sequences: How many, from the first on; fewer if there are fewer.
    """
    sequences = min(sequences, task.size(stream.split) or sequences)
    parameter = next(network.parameters())
    batch = task.evaluation_batch(stream, sequences, torch.arange(sequences, device=parameter.device))
    return record_answers(task, batch, network(batch.x.to(parameter.dtype), batch.lengths, return_weights=True))


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with numbers instead of powers of ten, few enough to be read, but more than one.

    Args:
        axis: After its data have been drawn.
    """
    low, high = sorted(axis.get_view_interval())
    between = LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
    axis.set_major_locator(between if high > 5 * low else MaxNLocator(5))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def _figure(title: str, width: float = 9, height: float = 4.5) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    figure.suptitle(title, fontsize=10, wrap=True)
    return figure


def _mark(axes: Axes, relevant_steps: Array) -> None:
    for i, step in enumerate(sorted(relevant_steps)):
        axes.axvline(step, color=ORANGE, alpha=0.6, linewidth=3, zorder=0, label=None if i else "a relevant step")


def draw_sequence(record: AttentionRecord, index: int = 0) -> Figure:
    """One sequence over its steps: inputs, scores, and weights relative to equal ones on a logarithmic scale.

    Args:
        record: Sequences.
        index: Which one.
    """
    steps = np.arange(record.lengths[index])
    relevant = record.relevant_steps[index]
    inputs = record.x[index, : len(steps)]
    scores = None if record.scores is None else record.scores[index, : len(steps)]
    rows = 1 + (record.weights is not None) + (scores is not None)
    target, answer = _in_words(record, index)
    figure = _figure(f"Sequence {index}: target {target}, answer {answer}\n{record.title}", height=2 + 1.6 * rows)
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
    figure = _figure(f"{task.summary()}: the target is {words}", height=3.0)
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
        axes.set_ylabel("input")
    else:  # one-hot, or many
        most = np.abs(inputs).max()
        scale = {"cmap": "Greys", "vmin": 0} if inputs.min() >= 0 else {"cmap": "PuOr", "vmin": -most, "vmax": most}
        axes.imshow(inputs.T, aspect="auto", interpolation="nearest", **scale)
        axes.set_yticks(range(task.num_features), task.feature_names, fontsize=7)


def _in_words(record: AttentionRecord, index: int) -> tuple[str, str]:
    if record.task.is_classification:
        names = [shortened(name) for name in record.task.class_names]
        return f"class {names[record.y[index]]}", f"class {names[record.prediction[index].argmax()]}"
    return _numbers_in_words(record, record.y[index]), _numbers_in_words(record, record.prediction[index])


def _numbers_in_words(record: AttentionRecord, values: Array) -> str:
    """Numbers of targets, in their units."""
    if not isinstance(record.task, GivenTask):
        return ", ".join(f"{value:.3f}" for value in values)
    restored = _in_units(record.task, values).tolist()
    return ", ".join(f"{number:.6g}" for number in restored)


def _in_units(task: GivenTask, values: Array) -> Array:
    """Standardized targets or answers in the units of the targets, in double precision."""
    restored: Array = task.target_scaling().restore(torch.from_numpy(values).double()).numpy()
    return restored


def shortened(name: str) -> str:
    """Return a name that fits beside others in a picture.

    Args:
        name: Of a class, or a column.
    """
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def draw_heat_map(record: AttentionRecord, most: int = 40) -> Figure:
    """Draw weights around relevant steps, relative to equal ones: a row for each sequence, the longest at the bottom.

    Args:
        record: Sequences of a network with attention, with relevant steps.
        most: How many are shown.
    """
    assert record.weights is not None
    order = np.argsort(record.lengths, kind="stable")[:: max(1, len(record.lengths) // most)][:most].tolist()
    count = record.relevant_steps.shape[1]
    figure = _figure(f"Weight x length, around the relevant steps\n{record.title}", height=5.5)
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
    figure = _figure("The score of a step, as a function of its input")
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
    return _numpy(scores)[:, 0]


def draw_answers(record: AttentionRecord) -> Figure:
    """Answers against targets with the band of right ones, and their errors; or a confusion matrix.

    Args:
        record: Sequences.
    """
    figure = _figure(record.title)
    if isinstance(record.task, Regression | GivenTask) and not record.task.is_classification:
        _draw_numbers(figure, record, record.task.tolerance)
    else:
        _draw_confusion(figure, record)
    return figure


def _draw_numbers(figure: Figure, record: AttentionRecord, tolerance: float) -> None:
    left, right = figure.subplots(1, 2)
    ends = np.array([min(record.y.min(), record.prediction.min()), max(record.y.max(), record.prediction.max())])
    left.fill_between(ends, ends - tolerance, ends + tolerance, color=GREEN, alpha=0.3, label=f"within {tolerance:g}")
    for rows, colour, name in ((record.is_correct, BLUE, "right"), (~record.is_correct, RED, "wrong")):
        left.plot(record.y[rows], record.prediction[rows], ".", color=colour, markersize=3, label=name)
    unit = ", in standard deviations" if isinstance(record.task, GivenTask) else ""
    left.set(xlabel=f"target{unit}", ylabel="answer")
    left.legend(fontsize=8, markerscale=2)
    right.hist((record.prediction - record.y).ravel(), bins=50, color=BLUE)
    right.axvspan(-tolerance, tolerance, color=GREEN, alpha=0.3)
    right.set(xlabel="answer - target", ylabel="sequences")


def _draw_confusion(figure: Figure, record: AttentionRecord) -> None:
    axes = figure.subplots()
    classes = record.prediction.shape[1]
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (record.y, record.prediction.argmax(axis=1)), 1)
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        axes.text(column, row, str(count), ha="center", va="center", color="w" if 2 * count > counts.max() else "k")
    axes.set(xlabel="answer", ylabel="target")
    names = [shortened(name) for name in record.task.class_names]
    is_wide = classes * max(map(len, names)) > _LETTERS
    axes.set_xticks(range(classes), names, rotation=90 if is_wide else 0)
    axes.set_yticks(range(classes), names)


def draw_lengths(record: AttentionRecord) -> Figure:
    """Draw accuracy by length, with the constant baseline.

    Args:
        record: Sequences.
    """
    figure = _figure(record.title, height=3.5)
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
