import pytest
import torch
from torch import nn

from ffattn.nn import init_linear


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
