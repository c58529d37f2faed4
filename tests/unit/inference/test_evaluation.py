import pytest
import torch
from torch import nn

from ffattn.errors import SettingError
from ffattn.inference.checkpoint import sizes_of
from ffattn.inference.evaluation import check_length, evaluate
from ffattn.models import LSTM, Answer, FFAttention, Network
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Fixed, Paper, Variable

TASK = Add(length=Paper(T=20))


class Constant(Network):
    """Always answers with one number, and remembers what it was asked."""

    def __init__(self, value):
        super().__init__()
        self.value, self.asked = nn.Parameter(torch.tensor(float(value))), []

    def forward(self, x, lengths, return_weights=False):
        self.asked.append((x, lengths, self.training, torch.is_grad_enabled()))
        weights = torch.zeros(x.shape[:2]) if return_weights else None
        return Answer(self.value.expand(len(x), 1), weights)


def test_scores_are_those_of_the_whole_set():
    y = TASK.evaluation_batch(Stream(0, Split.TEST), 25, torch.arange(25)).y
    scores = evaluate(Constant(0.5), TASK, Stream(0, Split.TEST), 25)
    assert scores["error"] == pytest.approx((y - 0.5).square().mean().item(), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(((y - 0.5).abs() < 0.04).float().mean().item())
    assert scores["dead"] == 1


@pytest.mark.parametrize("batch_size", [1, 4, 25, 1000])
@pytest.mark.parametrize("length", [Paper(T=20), Variable(T=40, min=11)], ids=lambda length: length.name)
def test_the_batch_size_does_not_matter(batch_size, length):
    task, network = Add(length=length), Constant(0.4)
    whole = evaluate(network, task, Stream(3, Split.VAL), 25, batch_size=25)
    assert evaluate(network, task, Stream(3, Split.VAL), 25, batch_size) == pytest.approx(whole)


@pytest.mark.parametrize("training", [True, False])
def test_it_runs_in_evaluation_mode_without_gradients_and_restores_the_mode(training):
    network = Constant(0.5).train(training)
    evaluate(network, TASK, Stream(0, Split.TEST), 25, batch_size=10)
    assert [asked[2:] for asked in network.asked] == [(False, False)] * 3
    assert network.training is training


def test_inputs_have_the_precision_of_the_weights():
    network = Constant(0.5).double()
    evaluate(network, TASK, Stream(0, Split.TEST), 5)
    assert network.asked[0][0].dtype == torch.float64


def test_splits_and_seeds_give_other_sequences():
    streams = [Stream(seed, split) for seed in (0, 1) for split in (Split.VAL, Split.TEST)]
    assert len({evaluate(Constant(0.5), TASK, stream, 10)["error"] for stream in streams}) == 4


@pytest.mark.parametrize("options", [{}, {"normalizer": "relu2", "score": "linear"}, {"position": "fraction"}], ids=str)
@pytest.mark.parametrize("length", [Fixed(T=101), Paper(T=90), Variable(T=120, min=11)], ids=lambda length: length.name)
@pytest.mark.parametrize("steps", [97, 64])  # a sequence in two windows, or one at a time
def test_sequences_that_are_too_long_for_memory_are_read_in_windows(monkeypatch, options, length, steps):
    task = Add(length=length, tolerance=0.3)
    network = FFAttention(hidden=7, **options).build(sizes_of(task)).double()
    whole = evaluate(network, task, Stream(5, Split.TEST), 23, batch_size=4)
    monkeypatch.setattr("ffattn.inference.evaluation.MAX_STEPS", steps)
    pieces = evaluate(network, task, Stream(5, Split.TEST), 23, batch_size=4)
    assert pieces == pytest.approx({name: whole[name] for name in ("accuracy", "error", "dead")})


@pytest.mark.parametrize("longest", [110, 109])
def test_long_sequences_are_run_a_few_at_a_time(monkeypatch, longest):
    network = Constant(0.5)
    monkeypatch.setattr("ffattn.inference.evaluation.MAX_STEPS", longest)
    evaluate(network, Add(length=Fixed(T=27)), Stream(0, Split.TEST), 9)
    assert [len(asked[0]) for asked in network.asked] == [4, 4, 1]


def test_a_model_that_cannot_take_pieces_is_refused_at_once():
    network = LSTM(hidden=3).build(sizes_of(TASK))
    with pytest.raises(SettingError, match="T=600000: above 524288 steps come in pieces"):
        check_length(network, Add(length=Fixed(T=600_000)))
    check_length(network, Add(length=Fixed(T=500_000)))
