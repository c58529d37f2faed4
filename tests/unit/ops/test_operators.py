"""The operators against their plain twin: every output and every gradient, in every form, at awkward sizes."""

import math

import pytest
import torch
from operator_cases import (
    ALL_FORMS,
    FORMS,
    LONG,
    OPERATORS,
    PLAIN_FORMS,
    SHORT,
    SMALL,
    THE_MEAN,
    Case,
    Form,
    assert_agrees,
    assert_same,
    every_plain_form,
    everything,
    make_inputs,
    outputs,
)
from torch.autograd import gradcheck

from ffattn import ops
from tests.pairwise import pairwise

BARS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2**-8}
CASES = {
    "one step": Case([1, 0, 1], 1, 2, 5),
    "one hidden unit": Case([17, 1, 3], 17, 2, 1),
    "nothing but empty sequences": Case([0, 0, 0], 7, 2, 5),
    "beyond a tile": Case([1021, 512, 513, 0, 1], 1021, 11, 7),
    "even sizes": Case([600, 600], 600, 4, 6),
    "short tiles of wide states": Case([83, 0, 81], 83, 1, 809),
    "many steps": LONG,
    "many sequences": SHORT,
}
TWO = torch.float64, torch.float32
every_precision = pytest.mark.parametrize("dtype", TWO, ids=str)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_is_the_twins(form):
    assert_agrees(form, SMALL, ["total", "context", "scores"], [torch.float32] * 5, BARS)


@pairwise(form=FORMS, wanted=[("total",), ("scores",), ("context", "scores")], dtype=TWO)
def test_outputs_and_gradients_are_the_twins(form, wanted, dtype):
    assert_agrees(form, SMALL, wanted, [dtype] * 5, BARS)


@pairwise(form=PLAIN_FORMS, case=CASES, dtype=TWO)
def test_sizes_are_handled(form, case, dtype):
    assert_agrees(form, case, ["total", "context"], [dtype] * 5, BARS)


@pairwise(form=FORMS, parameters=[torch.float32, torch.bfloat16])
def test_bfloat16_inputs_are_summed_in_float32(form, parameters):
    assert_agrees(form, SMALL, ["total", "context"], [torch.bfloat16] + [parameters] * 4, BARS)


@every_plain_form
def test_long_bfloat16_sequences(form):
    assert_agrees(form, LONG, ["total", "context"], [torch.bfloat16] + [torch.float32] * 4, BARS)


@every_precision
@pytest.mark.parametrize("operator", OPERATORS)
def test_the_mean_ignores_score_shift_and_scale(operator, dtype):
    """To the bit; other tests need no more than one form of it."""
    inputs = [i.to(dtype) for i in make_inputs(Form(operator, *THE_MEAN))]
    expected = everything(Form(operator, *THE_MEAN), inputs, SMALL.lengths)
    others = [form for form in ALL_FORMS if (form.operator, form.normalizer) == (operator, "mean")]
    assert len(others) == 4 * len(OPERATORS[operator])
    for form in others:
        assert_same(everything(form, inputs, SMALL.lengths), expected)


def test_float16_inputs_are_summed_in_float32():
    x, query = torch.rand(2, 3_000, 5).half(), torch.zeros(5).half()
    pooled, scores = ops.attention_pooling(x, torch.tensor([3_000, 7]), query, query[:1])
    assert pooled.total.tolist() == [3_000, 7]
    assert {tensor.dtype for tensor in (*pooled, scores)} == {torch.float32}


@pairwise(form=FORMS)
def test_gradcheck(form):
    """The maximum is a constant, so total and state of a softmax are checked where it does not depend on the input."""
    inputs = [
        torch.randn_like(i, dtype=torch.float64).requires_grad_() for i in make_inputs(form, Case([3, 1], 3, 2, 5))
    ]

    def differentiable(*leaves):
        found = outputs(form, leaves, [3, 1])
        return found["context"], *([] if form.normalizer == "mean" else [found["scores"]])

    assert gradcheck(differentiable, inputs)


def two_steps(form, query_bias, scale, dtype):
    """W = 2, b = 0, slope 1/2 and x = 1, -1: states 2 and -1; q = 1."""
    one = torch.ones(1, dtype=dtype)
    x, lengths = torch.tensor([[[1.0], [-1.0], [torch.nan]]], dtype=dtype), torch.tensor([2])
    query = () if query_bias is None else (one, query_bias * one)
    score, normalizer = form
    scale = None if scale is None else scale * one
    options = {"scale": scale, "score": score, "normalizer": normalizer}
    embedded, _ = ops.feed_forward_attention(x, lengths, 2 * one[None], 0 * one, *query, slope=0.5, **options)
    pooled, _ = ops.attention_pooling(torch.where(x > 0, 2 * x, x), lengths, *query, **options)
    return embedded, pooled


@every_precision
@pytest.mark.parametrize(
    ("form", "query_bias", "scale", "expected"),
    [
        # Linear scores are the states, 2 and -1, and softmax weighs e^2 : e^-1.
        (("linear", "softmax"), 0.0, None, (2 * math.e**3 - 1) / (math.e**3 + 1)),
        # Times log(2): 2^2 : 2^-1, so 8/9 * 2 - 1/9.
        (("linear", "softmax"), 0.0, math.log(2), 15 / 9),
        # tanh(2) - tanh(-1) = 0.9640276 + 0.7615942 = 1.7256218; e^1.7256218 = 5.616012.
        (("tanh", "softmax"), 0.0, None, (2 * 5.616012 - 1) / (5.616012 + 1)),
        # max(2, 0)^2 : max(-1, 0)^2 = 4 : 0.
        (("linear", "relu2"), 0.0, None, 2.0),
        # Scores 4 and 1, squares 16 : 1.
        (("linear", "relu2"), 2.0, None, (16 * 2 - 1) / 17),
        # Both scores negative: nothing is attended to.
        (("linear", "relu2"), -3.0, None, 0.0),
        (("linear", "mean"), None, None, (2 - 1) / 2),
    ],
)
def test_two_steps_by_hand(form, query_bias, scale, expected, dtype):
    for pooled in two_steps(form, query_bias, scale, dtype):
        assert pooled.context.item() == pytest.approx(expected, rel=1e-6)


@every_precision
def test_every_number_of_two_steps_by_hand(dtype):
    """Scores 2 + 1 and -1 + 1; squared 9 : 0; the padding's score is zero."""
    x, one = torch.tensor([[[2.0], [-1.0], [7.0]]], dtype=dtype), torch.ones(1, dtype=dtype)
    pooled, scores = ops.attention_pooling(x, torch.tensor([2]), one, one, score="linear", normalizer="relu2")
    assert [part.flatten().tolist() for part in (*pooled, scores)] == [[0.0], [9.0], [2.0], [3.0, 0.0, 0.0]]
    pooled, scores = ops.attention_pooling(x, torch.tensor([2]), 0 * one, one, score="linear", normalizer="softmax")
    assert [part.flatten().tolist() for part in (*pooled, scores)] == [[1.0], [2.0], [0.5], [1.0, 1.0, 0.0]]


@every_precision
def test_the_mean_is_the_mean(dtype):
    x = torch.randn(2, 13, 5, dtype=dtype)
    pooled, _ = ops.attention_pooling(x, torch.tensor([13, 4]), normalizer="mean")
    torch.testing.assert_close(pooled.context, torch.stack((x[0].mean(dim=0), x[1, :4].mean(dim=0))))
