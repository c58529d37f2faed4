import pytest
import torch
from torch import nn
from torch.nn.functional import leaky_relu

from ffattn.errors import SettingError
from ffattn.models import FFAttention, Mean, Sizes

REGRESSION = Sizes(2, 1, is_classification=False)
LENGTHS = torch.tensor([13, 13, 13])


def make_x():
    return torch.randn(3, 13, 2)


@pytest.mark.parametrize(("cls", "count"), [(FFAttention, 10_602), (Mean, 10_501)])
def test_the_papers_numbers_of_parameters(cls, count):
    assert sum(parameter.numel() for parameter in cls().build(REGRESSION).parameters()) == count


def papers_network(network, x):
    """Section 2.2 for whole sequences; the baseline differs in the context alone."""
    attention = network.attention
    h = leaky_relu(x @ attention.embed.weight.T + attention.embed.bias, 0.01)
    if attention.query is None:
        c = h.mean(dim=1)
    else:
        e = torch.tanh(h @ attention.query.weight[0] + attention.query.bias)
        c = (e.exp()[..., None] * h).sum(dim=1) / e.exp().sum(dim=1, keepdim=True)
    s = leaky_relu(c @ network.hidden.weight.T + network.hidden.bias, 0.01)
    return leaky_relu(s @ network.output.weight.T + network.output.bias, 0.01)


@pytest.mark.parametrize("cls", [FFAttention, Mean])
def test_the_defaults_are_the_papers_network(cls):
    network, x = cls().build(REGRESSION), make_x()
    torch.testing.assert_close(network(x, LENGTHS).prediction, papers_network(network, x))


@pytest.mark.parametrize("model", [FFAttention(), Mean(), FFAttention(slope=0.25)], ids=str)
def test_numbers_pass_through_a_leaky_relu(model):
    network = model.build(REGRESSION)
    nn.init.zeros_(network.output.weight)
    nn.init.constant_(network.output.bias, -100.0)
    assert network(make_x(), LENGTHS).prediction.unique().tolist() == pytest.approx([-100.0 * model.slope])


@pytest.mark.parametrize(("init", "gain"), [("paper", 1.0), ("he", 2**0.5)])
def test_initial_weights(init, gain):
    """The attention vector keeps the paper's deviation under `he` as well: so does the authors' code."""
    network = FFAttention(hidden=500, init=init).build(REGRESSION)
    assert network.hidden.weight.std().item() == pytest.approx(gain / 500**0.5, rel=0.02)
    assert network.attention.embed.weight.std().item() == pytest.approx(gain / 2**0.5, rel=0.1)
    assert network.output.weight.std().item() == pytest.approx(gain / 500**0.5, rel=0.15)
    assert network.attention.query.weight.std().item() == pytest.approx(1 / 500**0.5, rel=0.15)


@pytest.mark.parametrize("cls", [FFAttention, Mean])
@pytest.mark.parametrize(("position", "sees_order"), [("none", False), ("fraction", True), ("sinusoid", True)])
def test_order_matters_only_with_position_features(cls, position, sees_order):
    network, x = cls(position=position).build(REGRESSION).double(), make_x().double()
    ordered, shuffled = (network(steps, LENGTHS).prediction for steps in (x, x[:, torch.randperm(13)]))
    assert torch.allclose(ordered, shuffled, rtol=1e-9) is not sees_order


@pytest.mark.parametrize(
    "setting",
    [{"slope": -0.1}, {"slope": 1.5}, {"position": "angle"}, {"init": "zeros"}, {"score_jitter": -1.0}],
    ids=str,
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        FFAttention(**setting)


def test_the_mean_is_a_model_of_its_own_not_a_normalizer_of_the_attention_model():
    with pytest.raises(SettingError, match="normalizer=mean"):
        FFAttention(normalizer="mean")
