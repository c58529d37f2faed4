import pytest
import torch
from torch import nn

from ffattn.nn import AttentionPooling, FeedForwardAttention, init_linear
from ffattn.nn.initialisers import init_query


@pytest.mark.parametrize(("init", "std"), [("paper", 1 / 20), ("he", 2**0.5 / 20)])
def test_weights_are_normal_and_biases_zero(init, std):
    """400 inputs; 200,000 weights, whose standard deviation is then known to 1 in 632."""
    layer = nn.Linear(400, 500)
    init_linear(layer, init)
    weights = layer.weight.flatten() / std
    assert weights.std().item() == pytest.approx(1, abs=4 / 632)
    assert weights.mean().item() == pytest.approx(0, abs=4 / 447)
    assert (weights.abs() < 1).double().mean().item() == pytest.approx(0.6827, abs=4 * 0.00104)
    assert not layer.bias.any()


def test_the_paper_is_the_default():
    one, other = nn.Linear(3, 5), nn.Linear(3, 5)
    for layer, arguments in ((one, ()), (other, ("paper",))):
        torch.manual_seed(4)
        init_linear(layer, *arguments)
    assert torch.equal(one.weight, other.weight)


def test_a_positive_query_is_a_smaller_absolute_normal_one():
    one, other = nn.Linear(400, 1), nn.Linear(400, 1)
    for layer, init in ((one, "normal"), (other, "positive")):
        torch.manual_seed(4)
        init_query(layer, init)
    assert torch.allclose(other.weight, 0.3 * one.weight.abs())
    assert not other.bias.any()


def test_the_queries_of_both_layers_start_as_asked_for():
    for layer in (FeedForwardAttention(3, 50, query_init="positive"), AttentionPooling(50, query_init="positive")):
        assert (layer.query.weight > 0).all()


def test_an_unknown_start_of_the_query_is_refused():
    with pytest.raises(ValueError, match=r"query_init=zero: must be one of normal, positive"):
        AttentionPooling(5, query_init="zero")


@pytest.mark.parametrize("seed", range(20))
def test_steps_that_stand_out_start_with_the_larger_scores(seed):
    """A marked step against an unmarked one of the same value, in a network as the paper's but for the query."""
    torch.manual_seed(seed)
    layer = FeedForwardAttention(2, 100, score="linear", query_init="positive")
    values = torch.linspace(-1, 1, 101)
    marked, unmarked = (
        layer.forward_with_weights(torch.stack((values, torch.full_like(values, marker)), dim=1)[None])[2]
        for marker in (1.0, 0.0)
    )
    assert (marked > unmarked).float().mean() > 0.9
