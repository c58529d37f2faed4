"""What holds for every model, whatever the task's sizes."""

from dataclasses import replace

import pytest
import torch
from helpers import concrete_subclasses, spoil_padding
from torch import nn
from torch.autograd import gradcheck
from torch.func import functional_call

from ffattn.errors import SettingError
from ffattn.models import LSTM, FFAttention, LSTMAttention, Mean, Model, Sizes
from tests.pairwise import pairwise

CLASSES = concrete_subclasses(Model, "ffattn.models")
VARIANTS = [  # options that change the computation
    FFAttention(normalizer="relu2", score="linear", score_jitter=0.3, init="he"),
    FFAttention(length_scale=True, score="linear", position="sinusoid"),
    FFAttention(position="fraction"),
    Mean(position="fraction", slope=0.3),
    LSTMAttention(dropout=0.0),
    LSTM(cell="gru"),
    LSTM(cell="rnn"),
]
# Seven hidden units: few, and different from every other size.
MODELS = [replace(model, hidden=7) for model in [cls() for cls in CLASSES] + VARIANTS]
SIZES = {
    "one number": Sizes(2, 1, is_classification=False),
    "three numbers": Sizes(10, 3, is_classification=False),
    "eight classes": Sizes(1, 8, is_classification=True),
}
LENGTHS = torch.tensor([11, 1, 6])
TIME = 11

every_model = pytest.mark.parametrize("model", MODELS, ids=str)
both_modes = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


def make_network(model, sizes, training=False):
    return model.build(sizes).double().train(training)


def make_x(sizes, batch=3, time=TIME):
    return torch.randn(batch, time, sizes.num_features, dtype=torch.float64)


def answer_and_gradients(network, x, lengths):
    """Prediction, and gradients of the parameters; dropout and jitter are the same in every call."""
    torch.manual_seed(1)
    prediction = network(x, lengths).prediction
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(prediction.square().sum(), parameters, allow_unused=True, materialize_grads=True)
    return prediction, *gradients


def test_every_model_is_found():
    assert len(CLASSES) == 4


@pairwise(model=MODELS, sizes=SIZES, training=[False, True], batch=[3, 1], time=[TIME, 1])
def test_answers_have_the_tasks_size(model, sizes, training, batch, time):
    network = model.build(sizes).train(training)
    x = make_x(sizes, batch, time).float()
    prediction, *given = network(x, torch.full((batch,), time))
    assert prediction.shape == (batch, sizes.num_outputs)
    assert prediction.dtype == torch.float32
    assert prediction.isfinite().all()
    assert given == [None, None], "nobody asked for them"


@every_model
@both_modes
def test_padding_changes_neither_answers_nor_gradients(model, training):
    sizes = SIZES["three numbers"]
    network, x = make_network(model, sizes, training), make_x(sizes)
    plain = answer_and_gradients(network, x, LENGTHS)
    longer = torch.cat((x, make_x(sizes, time=6)), dim=1)
    torch.testing.assert_close(answer_and_gradients(network, spoil_padding(longer, LENGTHS), LENGTHS), plain)


@every_model
def test_a_sequences_answer_does_not_depend_on_the_others(model):
    sizes = SIZES["one number"]
    network, x = make_network(model, sizes), make_x(sizes)
    together = network(x, LENGTHS).prediction
    for row, length, prediction in zip(x, LENGTHS.tolist(), together, strict=True):
        alone = network(row[None, :length], torch.tensor([length])).prediction
        torch.testing.assert_close(alone[0], prediction)


@pytest.mark.parametrize("model", [model for model in MODELS if not isinstance(model, LSTM)], ids=str)
def test_weights_sum_to_one_on_real_steps(model):
    sizes = SIZES["one number"]
    network = make_network(model, sizes)
    if isinstance(model, FFAttention):
        nn.init.constant_(network.attention.query.bias, 9.0)  # some score is positive, so that relu2 attends
    weights = network(make_x(sizes), LENGTHS, return_weights=True).weights
    assert weights.shape == (3, TIME)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3, dtype=weights.dtype))
    assert not weights[torch.arange(TIME) >= LENGTHS[:, None]].any()


def test_the_last_state_has_no_weights():
    sizes = SIZES["one number"]
    assert make_network(LSTM(), sizes)(make_x(sizes), LENGTHS, return_weights=True).weights is None


@every_model
def test_asking_for_weights_does_not_change_the_answer(model):
    sizes = SIZES["one number"]
    network, x = make_network(model, sizes), make_x(sizes)
    torch.testing.assert_close(network(x, LENGTHS).prediction, network(x, LENGTHS, return_weights=True).prediction)


@every_model
def test_the_global_seed_decides_everything(model):
    sizes = SIZES["three numbers"]
    x = make_x(sizes)
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        runs.append(make_network(model, sizes, training=True)(x, LENGTHS).prediction)
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


@every_model
def test_gradcheck(model):
    """Random points, at which no leaky ReLU is at its kink."""
    sizes = Sizes(2, 3, is_classification=False)
    network, x = make_network(model, sizes), make_x(sizes, batch=2, time=3).requires_grad_()
    lengths = torch.tensor([3, 2])
    names, parameters = zip(*network.named_parameters(), strict=True)

    def prediction(x, *parameters):
        return functional_call(network, dict(zip(names, parameters, strict=True)), (x, lengths)).prediction

    assert gradcheck(prediction, (x, *parameters))


@every_model
@pytest.mark.parametrize("level", [-1000.0, 1000.0])
def test_logits_have_no_activation(model, level):
    sizes = SIZES["eight classes"]
    network = make_network(model, sizes)
    head = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, level)
    assert network(make_x(sizes), LENGTHS).prediction.unique().tolist() == [level]


@every_model
@pytest.mark.parametrize("lengths", [[11, 0, 6], [11, 12, 6]], ids=str)
def test_impossible_lengths_are_refused(model, lengths):
    sizes = SIZES["one number"]
    with pytest.raises(ValueError, match=r"1\.\.11"):
        make_network(model, sizes)(make_x(sizes), torch.tensor(lengths))


@pytest.mark.parametrize("cls", CLASSES)
def test_a_network_needs_a_hidden_unit(cls):
    with pytest.raises(SettingError, match="hidden=0"):
        cls(hidden=0)
