import pytest
import torch
from torch import nn

from ffattn.evaluation import evaluate
from ffattn.models import Answer, Network
from ffattn.streams import Split, Stream
from ffattn.tasks import Add, Paper, Variable

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
    assert scores["solved"] == pytest.approx(((y - 0.5).abs() < 0.04).float().mean().item())
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
