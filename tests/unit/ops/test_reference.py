"""What only the plain implementation has: pieces of any width, and the small functions that layers use too."""

import pytest
import torch
from operator_cases import FORMS, SMALL, assert_near, everything, make_inputs
from plain import feed_forward_attention

from ffattn.choices import NORMALIZERS
from ffattn.ops import reference
from ffattn.ops.reference import full_precision, largest_score, scale_scores, unnormalised_weights, valid_steps
from tests.pairwise import pairwise

BATCH, TIME = len(SMALL.lengths), SMALL.time


@pairwise(form=FORMS, piece=[1, 2 * BATCH, 5 * BATCH + 1, BATCH * TIME - 1])  # widths 1, 2, 5 and 12
def test_any_pieces_give_the_same(form, piece, monkeypatch):
    inputs = [i.double() for i in make_inputs(form)]
    whole = everything(form, inputs, SMALL.lengths)
    monkeypatch.setattr(reference, "PIECE", piece)
    for name, tensor in everything(form, inputs, SMALL.lengths).items():
        assert_near(name, tensor, whole[name], 1e-13)


def test_no_tensor_holds_all_states(monkeypatch):
    """Of 2 x 64 x 7 states at most a quarter exists at a time, forwards and backwards."""
    monkeypatch.setattr(reference, "PIECE", 32)
    sizes, linear = [], reference.linear
    monkeypatch.setattr(reference, "linear", lambda *arguments: sizes.append(linear(*arguments)) or sizes[-1])
    x, weight, bias = torch.randn(2, 64, 3), torch.randn(7, 3), torch.randn(7)
    tensors = x, torch.tensor([64, 9]), weight, bias, None, None, None, None
    kept = reference.feed_forward_attention_forward(*tensors, 0.5, "tanh", "mean")
    outer = None, torch.ones_like(kept[2]), None
    reference.feed_forward_attention_backward(*outer, *tensors, *kept, 0.5, "tanh", "mean", True)
    assert {states.shape for states in sizes} == {(2, 16, 7)}
    expected = feed_forward_attention(x, tensors[1], weight, bias, slope=0.5, score="tanh", normalizer="mean")
    assert_near("context", kept[2], expected[2], 1e-6)


def test_valid_steps_are_those_before_the_length():
    expected = [[False, False, False], [True, False, False], [True, True, True]]
    assert valid_steps(torch.tensor([0, 1, 3]), 3).tolist() == expected


def test_scores_are_shifted_and_then_scaled():
    scores, shift, scale = torch.tensor([[1.0, -2.0], [3.0, 0.0]]), torch.tensor(0.5), torch.tensor([2.0, 0.0])
    assert scale_scores(scores, None, None).tolist() == scores.tolist()
    assert scale_scores(scores, shift, None).tolist() == [[1.5, -1.5], [3.5, 0.5]]
    assert scale_scores(scores, None, scale.double()).tolist() == [[2.0, -4.0], [0.0, 0.0]]
    assert scale_scores(scores, shift, scale).tolist() == [[3.0, -3.0], [0.0, 0.0]]
    assert scale_scores(scores, shift, scale.double()).dtype == torch.float32


@pytest.mark.parametrize(
    ("normalizer", "maximum", "weights"),
    [("softmax", [2.0, -torch.inf], [1.0, 0.125]), ("relu2", [0.0, 0.0], [4.0, 0.0]), ("mean", [0.0, 0.0], [1.0, 1.0])],
)
def test_weights_of_real_steps(normalizer, maximum, weights):
    """exp(2 - 2) : exp(2 - ln(8) - 2) = 1 : 1/8; the largest score of all is padding."""
    scores = torch.tensor([[2.0, 2.0 - torch.tensor(8.0).log(), 9.0], [7.0, 7.0, 7.0]])
    scores = scores if normalizer != "relu2" else torch.tensor([[2.0, -1.0, 9.0], [7.0, 7.0, 7.0]])
    valid = valid_steps(torch.tensor([2, 0]), 3)
    found = largest_score(scores, valid, normalizer)
    assert found.tolist() == maximum
    actual = unnormalised_weights(scores, valid, found, normalizer)
    torch.testing.assert_close(actual, torch.tensor([[*weights, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_the_largest_score_is_a_constant(normalizer):
    scores = torch.randn(2, 3, requires_grad=True)
    assert not largest_score(scores, torch.ones(2, 3, dtype=torch.bool), normalizer).requires_grad


def test_full_precision_is_at_least_float32():
    for given, expected in ((torch.bfloat16, torch.float32), (torch.float16, torch.float32)):
        assert full_precision(torch.zeros(1, dtype=given)).dtype == expected
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(1, dtype=dtype)
        assert full_precision(x) is x
