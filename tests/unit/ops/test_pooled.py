"""Attention over disjoint steps: merged in any order, it is the weighted mean over all steps."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from ffattn.choices import NORMALIZERS
from ffattn.ops import Pooled, attention_pooling
from ffattn.ops.reference import divisor

HIDDEN = 5


def one_step(score, state):
    return Pooled(score.reshape(1), torch.ones(1, dtype=score.dtype), state[None])


def no_step(dtype=torch.float64):
    return Pooled(
        torch.full((1,), -torch.inf, dtype=dtype), torch.zeros(1, dtype=dtype), torch.zeros(1, HIDDEN, dtype=dtype)
    )


def merge_all(parts):
    total, *others = parts
    for other in others:
        total = total.merge(other)
    return total


def test_steps_merge_in_any_order():
    """Scores whose exponentials overflow and vanish; and one part that lies beyond the end of the sequence."""
    scores = torch.tensor([3.0, -40.0, 700.0], dtype=torch.float64)
    states = torch.randn(3, HIDDEN, dtype=torch.float64)
    parts = [*map(one_step, scores, states), no_step()]
    expected = (scores.softmax(dim=0) @ states)[None]
    for ordered in itertools.permutations(parts):
        merged = merge_all(ordered)
        assert merged.maximum.item() == 700.0
        torch.testing.assert_close(merged.context, expected, rtol=1e-14, atol=1e-14)


def test_nothing_and_nothing_is_nothing():
    merged = no_step().merge(no_step())
    assert merged.maximum.item() == -torch.inf
    assert not merged.total.any()
    assert not merged.context.any()


def test_parts_group_in_any_way():
    parts = [one_step(score, torch.randn(HIDDEN, dtype=torch.float64)) for score in torch.randn(6).double()]
    left = merge_all(parts)
    right = merge_all([merge_all(parts[4:]), merge_all(parts[:1]), merge_all(parts[1:4])])
    torch.testing.assert_close(tuple(right), tuple(left))


@pytest.mark.parametrize("normalizer", NORMALIZERS)
def test_gradients_pass_through_a_merge(normalizer):
    """The maximum of each part is a constant, although the merged sums depend on it."""
    lengths = torch.tensor([3, 0]), torch.tensor([2, 4])

    def context(sequence, *query):
        pieces = zip((sequence[:, :3], sequence[:, 3:]), lengths, strict=True)
        parts = [attention_pooling(piece, length, *query, normalizer=normalizer)[0] for piece, length in pieces]
        return merge_all(parts).context

    query = [] if normalizer == "mean" else [torch.randn(HIDDEN), torch.ones(1)]
    inputs = [i.double().requires_grad_() for i in (torch.randn(2, 7, HIDDEN), *query)]
    assert gradcheck(context, inputs)


def test_a_total_of_zero_divides_nothing():
    assert divisor(torch.tensor([0.0, 4.0])).tolist() == [[1.0], [4.0]]
    nothing, half = (Pooled(torch.zeros(1), torch.zeros(1) + t, torch.zeros(1, 1) + c) for t, c in ((0, 0), (4, 0.5)))
    assert nothing.merge(nothing).context.item() == 0.0
    assert nothing.merge(half).context.item() == half.merge(nothing).context.item() == 0.5


def test_double_keeps_the_numbers():
    pooled = Pooled(torch.randn(2), torch.rand(2), torch.randn(2, HIDDEN))
    assert {part.dtype for part in pooled.double()} == {torch.float64}
    assert [part.float().tolist() for part in pooled.double()] == [part.tolist() for part in pooled]


def test_many_parts_in_double_add_up_exactly():
    """In float32 a sum of ones stops at 2^24 and the mean drifts."""
    part = Pooled(torch.zeros(1), torch.full((1,), 2.0**24), torch.ones(1, 1)).double()
    assert part.merge(Pooled(torch.zeros(1), torch.ones(1), torch.ones(1, 1)).double()).total.item() == 2**24 + 1
