"""What pictures are made of, and that every network on every task has its own, without a display."""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ffattn.figures.attention import (
    draw_all,
    draw_example,
    draw_heat_map,
    draw_score_function,
    draw_sequence,
)
from ffattn.figures.record import record_answers, record_attention
from ffattn.inference.checkpoint import build_network
from ffattn.models import LSTM, Answer, FFAttention, LSTMAttention, Mean
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Fixed, Multiply, Paper, TemporalOrder2, TemporalOrder3, Xor
from ffattn.tasks.batch import Batch
from tests.pairwise import each_value

STREAM = Stream(0, Split.VAL)
NAMES = {
    "FFAttention": {"sequence", "answers", "lengths", "heat_map", "score_function"},
    "Mean": {"sequence", "answers", "lengths", "heat_map"},
    "LSTMAttention": {"sequence", "answers", "lengths", "heat_map"},
    "LSTM": {"sequence", "answers", "lengths"},
}


def network_of(model, task):
    return build_network(model, task).eval()


def seen_by_hand():
    """Two sequences of the addition task: four and three steps, relevant ones 1 and 2, weights on the latter alone."""
    weights = torch.tensor([[0.0, 0.25, 0.75, 0.0], [0.0, 0.5, 0.5, 0.0]])
    x = torch.zeros(2, 4, 2)
    batch = Batch(x, torch.tensor([4, 3]), torch.tensor([[0.5], [0.5]]), torch.tensor([[1, 2], [1, 2]]))
    return record_answers(Add(), batch, Answer(torch.tensor([[0.51], [0.6]]), weights, weights - 0.1))


def test_what_is_seen_by_hand():
    record = seen_by_hand()
    assert record.is_correct.tolist() == [True, False]
    assert record.error == pytest.approx((0.01**2 + 0.1**2) / 2)
    assert record.lift.tolist() == [[0, 1, 3, 0], [0, 1.5, 1.5, 0]]
    assert "accuracy 50.0% on 2 sequences; attention mass 100.00%, 1.75 times that of equal weights" in record.title


@each_value(
    model={model.name: model for model in (FFAttention(), Mean(), LSTMAttention(), LSTM())},
    cls=[Add, Xor, TemporalOrder2],
)
def test_every_network_has_its_pictures(model, cls, tmp_path):
    task = cls(length=Paper(T=20))
    network = network_of(model, task)
    figures = draw_all(network, record_attention(network, task, STREAM, 12))
    assert set(figures) == NAMES[type(model).__name__]
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 2000


@pytest.mark.parametrize("precision", [torch.float32, torch.float64, torch.bfloat16])
def test_any_precision_can_be_drawn(precision):
    task = Add(length=Paper(T=20))
    network = network_of(FFAttention(), task).to(precision)
    record = record_attention(network, task, STREAM, 3)
    assert record.prediction.dtype in (np.float32, np.float64)


def test_a_score_that_depends_on_the_position_is_no_function_of_the_input():
    task = Add(length=Paper(T=20))
    network = network_of(FFAttention(position="fraction"), task)
    assert "score_function" not in draw_all(network, record_attention(network, task, STREAM, 3))


def lines_of(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].lines}


def test_the_score_function_is_the_networks():
    task = Add(length=Paper(T=20))
    network = network_of(FFAttention(hidden=5), task)
    lines = lines_of(draw_score_function(network, task))
    batch = task.evaluation_batch(STREAM, 1, torch.arange(1))
    _, _, scores = network.attention.forward_with_weights(batch.x, batch.lengths)
    for step in range(int(batch.lengths)):
        value, marker = batch.x[0, step].tolist()
        line = lines[f"marker {marker:g}"]
        assert np.interp(value, *line.T) == pytest.approx(scores[0, step].item(), abs=1e-3)


def test_zero_weights_are_counted_and_not_drawn():
    figure = draw_sequence(seen_by_hand())
    last = figure.axes[-1]
    assert last.get_title(loc="right").startswith("2 weights are zero")
    assert last.get_yscale() == "log"
    assert np.nansum(last.lines[0].get_ydata()) == 4


def test_relevant_steps_are_highlighted_once_in_the_legend():
    figure = draw_sequence(seen_by_hand())
    words = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(words) == ["a relevant step", "equal weights"]


def test_the_heat_map_is_aligned_at_the_relevant_steps_and_sorted_by_length():
    figure = draw_heat_map(seen_by_hand())
    first, second = (axes.images[0].get_array() for axes in figure.axes[:2])
    middle = first.shape[1] // 2
    assert first[:, middle].tolist() == [1.5, 1.0]  # the shorter sequence is above
    assert second[:, middle].tolist() == [1.5, 3.0]
    assert first.mask[0, middle + 2]  # the third sequence step is past its end


def test_a_figure_needs_no_display():
    assert isinstance(draw_sequence(seen_by_hand()), Figure)


@pytest.mark.parametrize("kind", [Add, Multiply, Xor, TemporalOrder2, TemporalOrder3])
def test_an_example_shows_its_marks_and_its_target(kind):
    task = kind(length=Fixed(T=40))
    batch = task.example(1, seed=3)
    (axes,) = draw_example(task, seed=3).axes
    shown = {float(line.get_xdata()[0]) for line in axes.lines if len(line.get_xdata()) == 2}  # upright lines
    assert shown == {float(step) for step in batch.relevant_steps[0]}
    target = batch.y[0].item()
    words = f"class {target}" if isinstance(target, int) else f"{target:.3f}"
    assert axes.figure.get_suptitle().endswith(words)
