import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck

from ffattn.ops.reference import (
    NORMALIZERS,
    PIECE,
    SCORES,
    Form,
    Parameters,
    Sums,
    attention_weights,
    feed_forward_attention,
    finish,
    merge,
    pool,
    valid_steps,
)

SIZES = BATCH, TIME, FEATURES, HIDDEN = 3, 13, 2, 5  # primes, all different: no two axes can be mistaken for each other
SLOPE = 0.01
PIECES = (1, 2 * BATCH, 5 * BATCH + 1, TIME * BATCH, 10 * TIME * BATCH)  # in pairs; widths 1, 2, 5, 13 and beyond
FORMS = [Form(SLOPE, *choices) for choices in itertools.product(SCORES, NORMALIZERS, (False, True))]
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda f: f"{f.score}-{f.normalizer}-{f.length_scale}")


def make_inputs(form, sizes=SIZES):
    """Random x and parameters in float64; the unweighted mean has no query."""
    batch, time, features, hidden = sizes
    shapes = [(batch, time, features), (hidden, features), (hidden,)]
    shapes += [] if form.normalizer == "mean" else [(hidden,), (1,)]
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def make_valid():
    """A whole sequence with a hole, a prefix that is no multiple of any piece, and a single step."""
    valid = valid_steps(torch.tensor([TIME, 7, 1]), TIME)
    valid[0, 4:6] = False
    return valid


def naive_weights(scores, normalizer):
    if normalizer == "softmax":
        return scores.exp() / scores.exp().sum()
    if normalizer == "relu2":
        squares = torch.where(scores > 0, scores**2, torch.zeros_like(scores))
        return squares / squares.sum() if squares.sum() > 0 else squares
    return torch.full_like(scores, 1 / len(scores))


def naive_context(x, parameters, form, shift):
    """One sequence, one step after another; an independent reading of the formulas."""
    states, scores = [], []
    for step in x:
        z = parameters.weight @ step + parameters.bias
        h = torch.where(z > 0, z, form.slope * z)
        e = (
            torch.zeros((), dtype=x.dtype)
            if parameters.query is None
            else h @ parameters.query + parameters.query_bias[0]
        )
        e = torch.tanh(e) if form.score == "tanh" else e
        e = e if shift is None else e + shift
        states.append(h)
        scores.append(e * math.log(len(x)) if form.length_scale and form.normalizer == "softmax" else e)
    return naive_weights(torch.stack(scores), form.normalizer) @ torch.stack(states)


def gradients(context, inputs):
    """Of a function of the context that treats every component differently."""
    probe = torch.linspace(-1, 2, context.numel(), dtype=context.dtype).reshape(context.shape)
    return torch.autograd.grad((context * probe).sum(), inputs, allow_unused=True, materialize_grads=True)


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


@every_form
@pytest.mark.parametrize("shift", [None, 0.3])
@pytest.mark.parametrize("piece", PIECES)
def test_any_pieces_give_the_naive_context_and_gradients(form, shift, piece):
    x, *weights = inputs = make_inputs(form)
    if shift is not None:
        shift = torch.tensor(shift, dtype=x.dtype, requires_grad=True)
        inputs = [*inputs, shift]
    parameters, valid = Parameters(*weights), make_valid()
    context, _ = feed_forward_attention(x, valid, parameters, form, shift=shift, piece=piece)
    rows = zip(x, valid, strict=True)
    expected = torch.stack([naive_context(row[real], parameters, form, shift) for row, real in rows])
    assert_close(context, expected)
    assert_close(gradients(context, inputs), gradients(expected, inputs))


@every_form
def test_scores_do_not_depend_on_the_pieces_and_give_the_context(form):
    x, *weights = make_inputs(form)
    valid = make_valid()
    whole, pieces = (feed_forward_attention(x, valid, Parameters(*weights), form, piece=piece) for piece in (PIECE, 4))
    states = torch.nn.functional.leaky_relu(torch.nn.functional.linear(x, *weights[:2]), SLOPE)
    context, weights_over_time = pool(states, whole[1], valid, form.normalizer)
    assert_close(pieces[1], whole[1])
    assert_close(context, whole[0])
    assert_close(weights_over_time, attention_weights(pieces[1], valid, form.normalizer))


@every_form
@pytest.mark.parametrize("piece", [2, PIECE])
def test_gradcheck(form, piece):
    inputs = make_inputs(form, sizes=(2, 3, 2, 3))
    valid = torch.tensor([[True, True, True], [True, False, False]])

    def context(x, *weights):
        return feed_forward_attention(x, valid, Parameters(*weights), form, piece=piece)[0]

    assert gradcheck(context, inputs)


@pytest.mark.parametrize(
    ("form", "query_bias", "expected"),
    [
        # h = LReLU(2 * 1) = 2 and LReLU(2 * -1) = -2 / 2 = -1; linear scores are h, and softmax weighs e^2 : e^-1.
        (Form(0.5, "linear", "softmax", False), 0.0, (2 * math.e**3 - 1) / (math.e**3 + 1)),
        # Times log(2): 2^2 : 2^-1, so 8/9 * 2 - 1/9.
        (Form(0.5, "linear", "softmax", True), 0.0, 15 / 9),
        # tanh(2) - tanh(-1) = 0.9640276 + 0.7615942 = 1.7256218; e^1.7256218 = 5.616012.
        (Form(0.5, "tanh", "softmax", False), 0.0, (2 * 5.616012 - 1) / (5.616012 + 1)),
        # max(2, 0)^2 : max(-1, 0)^2 = 4 : 0.
        (Form(0.5, "linear", "relu2", False), 0.0, 2.0),
        # Scores 4 and 1, squares 16 : 1.
        (Form(0.5, "linear", "relu2", False), 2.0, (16 * 2 - 1) / 17),
        # Both scores negative: nothing is attended to.
        (Form(0.5, "linear", "relu2", False), -3.0, 0.0),
        (Form(0.5, "linear", "mean", False), None, (2 - 1) / 2),
    ],
)
def test_two_steps_by_hand(form, query_bias, expected):
    x = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    query = () if query_bias is None else (one, query_bias * one)
    parameters = Parameters(2 * one[None], 0 * one, *query)
    context, _ = feed_forward_attention(x, torch.ones(1, 2, dtype=torch.bool), parameters, form)
    assert context.item() == pytest.approx(expected, rel=1e-6)


@every_form
def test_a_single_step_is_its_own_context(form):
    x, *weights = make_inputs(form, sizes=(BATCH, 1, FEATURES, HIDDEN))
    if len(weights) > 2:
        weights[-1] = torch.full((1,), 50.0, dtype=torch.float64)  # no score is negative, so that relu2 attends
    context, _ = feed_forward_attention(x, torch.ones(BATCH, 1, dtype=torch.bool), Parameters(*weights), form)
    states = torch.nn.functional.leaky_relu(x[:, 0] @ weights[0].T + weights[1], SLOPE)
    assert_close(context, states)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_weights_sum_to_one_over_valid_steps_and_are_zero_elsewhere(normalizer):
    valid = make_valid()
    weights = attention_weights(torch.rand(BATCH, TIME) + 0.1, valid, normalizer)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(BATCH))
    assert (weights[valid] > 0).all()
    assert not weights[~valid].any()


@pytest.mark.parametrize("piece", [2, PIECE])
def test_a_row_without_a_positive_score_has_zero_context_and_gradients(piece):
    """Beside a row that has one: the dead row must not disturb it."""
    form = Form(SLOPE, "linear", "relu2", False)
    x = torch.tensor([[[-1.0], [-2.0], [-3.0]], [[-1.0], [2.0], [-3.0]]], requires_grad=True)
    parameters = Parameters(torch.ones(1, 1), torch.zeros(1), torch.ones(1), torch.zeros(1))
    valid = torch.ones(2, 3, dtype=torch.bool)
    context, scores = feed_forward_attention(x, valid, parameters, form, piece=piece)
    (gradient,) = torch.autograd.grad(context.sum(), x)
    assert context.tolist() == [[0.0], [2.0]]
    assert attention_weights(scores, valid, "relu2").tolist() == [[0.0] * 3, [0.0, 1.0, 0.0]]
    assert gradient.flatten(1).tolist() == [[0.0] * 3, [0.0, 1.0, 0.0]]


@pytest.mark.parametrize("piece", [1, PIECE])
@pytest.mark.parametrize("sign", [1, -1])
def test_softmax_takes_scores_of_ten_thousand(piece, sign):
    """In float32, where exp overflows beyond 88; the largest score may come first or last."""
    form = Form(SLOPE, "linear", "softmax", False)
    x = torch.tensor([[[1.0], [0.5], [-1.0]]], requires_grad=True)
    parameters = Parameters(
        torch.tensor([[1.0], [-1.0]]), torch.zeros(2), sign * torch.tensor([1e4, -1e4]), torch.zeros(1)
    )
    context, scores = feed_forward_attention(x, torch.ones(1, 3, dtype=torch.bool), parameters, form, piece=piece)
    (gradient,) = torch.autograd.grad(context.sum(), x)
    winner = (0, 2)[sign < 0]
    states = torch.tensor([1.0, -SLOPE]) if winner == 0 else torch.tensor([-SLOPE, 1.0])
    assert scores.abs().max() > 1e4
    torch.testing.assert_close(context[0], states)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_pieces_merge_in_any_order(order):
    """One piece lies beyond the end of the sequence; it has no weight and no maximum."""
    scores = torch.tensor([[3.0, -40.0, 700.0]], dtype=torch.float64)
    states = torch.randn(1, 3, HIDDEN, dtype=torch.float64)
    one, none = torch.ones(1, dtype=torch.float64), torch.zeros(1, HIDDEN, dtype=torch.float64)
    pieces = [Sums(scores[:, t], one, states[:, t]) for t in range(3)]
    pieces.append(Sums(torch.full_like(one, -torch.inf), 0 * one, none))
    total = pieces[order[0]]
    for i in order[1:]:
        total = merge(total, pieces[i])
    assert_close(finish(total), torch.einsum("bt,bth->bh", scores.softmax(dim=1), states))


def test_valid_steps_are_those_before_the_length():
    expected = [[False, False, False], [True, False, False], [True, True, True]]
    assert valid_steps(torch.tensor([0, 1, 3]), 3).tolist() == expected


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@pytest.mark.parametrize("piece", [64, 10_000])
def test_sums_are_kept_in_float32_under_autocast(normalizer, piece):
    """In bfloat16 a sum of weights stops at 256, and the context is wrong by as much as that falls short."""
    torch.manual_seed(0)
    x, valid = torch.rand(4, 2_000, 2), torch.ones(4, 2_000, dtype=torch.bool)
    query = None if normalizer == "mean" else torch.rand(5)
    parameters = Parameters(torch.rand(5, 2), torch.rand(5), query, None if query is None else torch.ones(1))
    form = Form(0.01, "tanh", normalizer, length_scale=False)
    expected, _ = feed_forward_attention(x, valid, parameters, form)
    with torch.autocast("cpu", torch.bfloat16):
        context, scores = feed_forward_attention(x, valid, parameters, form, piece=piece)
    assert context.dtype == scores.dtype == torch.float32
    torch.testing.assert_close(context, expected, rtol=0.02, atol=0)
