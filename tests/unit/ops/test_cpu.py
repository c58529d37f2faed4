"""The elementary functions of the CPU kernels, seen through scores and weights; and what depends on the CPU."""

from copy import deepcopy

import pytest
import torch

pytest.importorskip("numba")

from ffattn.nn import FeedForwardAttention
from ffattn.ops import attention_pooling, cpu
from tests.pairwise import pairwise

ONE, ZERO = torch.ones(1), torch.zeros(1)
ULP = 2.0**-23


def pool(x, **options):
    """Of states with one hidden unit, which linear scores equal."""
    lengths = torch.full((len(x),), x.shape[1])
    return attention_pooling(x[..., None], lengths, ONE, ZERO, **options)


def test_tanh_is_right_to_the_last_bits():
    small, large = torch.logspace(-30, 0, 5_000), torch.linspace(0, 30, 20_001)
    x = torch.cat((small, large, -small, -large))
    _, scores = pool(x[None], score="tanh")
    torch.testing.assert_close(scores[0].double(), x.double().tanh(), rtol=4 * ULP, atol=0)
    assert scores.abs().max() == 1


def test_tanh_keeps_what_is_no_number():
    _, scores = pool(torch.tensor([[torch.inf, -torch.inf, 1e30, -1e30, torch.nan]]), score="tanh")
    assert scores[0, :4].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert scores[0, 4].isnan()


def test_exp_is_right_to_the_last_bits():
    """Scores 0 and -d weigh 1 and e^-d, so that the sum of states is -d e^-d."""
    d = torch.cat((torch.logspace(-6, 0, 5_000), torch.linspace(1, 87, 20_001)))
    pooled, _ = pool(torch.stack((torch.zeros_like(d), -d), dim=1), score="linear")
    torch.testing.assert_close(
        (pooled.context[:, 0] * pooled.total / -d).double(), (-d.double()).exp(), rtol=8 * ULP, atol=0
    )


@pytest.mark.parametrize("distance", [87.5, 104.0, 1e4, 3e38, torch.inf])
def test_exp_vanishes_far_below_the_largest_score(distance):
    pooled, _ = pool(torch.tensor([[1.0, 1.0 - distance]]), score="linear", normalizer="softmax")
    assert pooled.total.item() == 1.0


def test_weights_in_gradients_are_those_of_the_forward_pass():
    """For one hidden unit and linear scores: dL/dh = w (1 + h - c) / total, where c is the context."""
    x = torch.randn(3, 700).requires_grad_()
    pooled, _ = pool(x, score="linear")
    (gradient,) = torch.autograd.grad(pooled.context.sum(), x)
    exact = x.detach().double()
    weights = exact.softmax(dim=1)
    expected = weights * (1 + exact - (weights * exact).sum(dim=1, keepdim=True))
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=1e-8)


@pairwise(keeps_signs=[False, True], features=[1, 2, 3, 8], normalizer=["softmax", "relu2", "mean"])
def test_a_backward_pass_is_right_whether_it_keeps_signs_or_not(keeps_signs, features, normalizer, monkeypatch):
    monkeypatch.setattr(cpu, "KEEPS_SIGNS", keeps_signs)
    layer = FeedForwardAttention(features, 9, normalizer=normalizer)
    torch.nn.init.normal_(layer.embed.bias)
    lengths = torch.tensor([5000, 1, 17, 2048, 40])  # in one tile and in several, alone and side by side
    x, outer = torch.randn(5, 5000, features), torch.randn(5, 9)
    pairs = [(layer, x.requires_grad_()), (deepcopy(layer).double(), x.detach().double().requires_grad_())]
    for module, inputs in pairs:
        (module(inputs, lengths) * outer).sum().backward()
    (module, inputs), (exact, exact_inputs) = pairs
    found, wanted = ([*m.parameters(), i] for m, i in ((module, inputs), (exact, exact_inputs)))
    for got, expected in zip(found, wanted, strict=True):
        if expected.grad is not None:
            bound = 1e-5 * (expected.grad.norm() + outer.norm() / 10)
            assert (got.grad - expected.grad).norm() < bound
