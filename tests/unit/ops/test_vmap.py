"""The operators under torch.func.vmap: each member as if it were alone, forward and backward."""

import pytest
import torch
from operator_cases import FORMS, SMALL, leaves, make_inputs
from torch.func import vmap

from ffattn import ops
from tests.pairwise import pairwise

MEMBERS = 3


def call(form, tensors, lengths):
    """Context, total and scores: what has gradients."""
    x, *parameters = tensors
    operator = getattr(ops, form.operator)
    pooled, scores = operator(x, lengths, *parameters, **form.options(len(x)))
    return pooled.context, pooled.total, scores


def assert_close(stacked, alone):
    for own, one in zip(stacked.unbind(), alone, strict=True):
        torch.testing.assert_close(own, one, rtol=1e-6, atol=1e-6)


@pairwise(form=FORMS)
def test_members_are_as_if_alone(form):
    torch.manual_seed(0)
    lengths = torch.tensor(SMALL.lengths)
    members = [leaves(make_inputs(form)) for _ in range(MEMBERS)]
    stacked = leaves([torch.stack([t.detach() for t in column]) for column in zip(*members, strict=True)])
    together = vmap(lambda *tensors: call(form, tensors, lengths))(*stacked)
    alone = [call(form, member, lengths) for member in members]
    outer = [torch.randn_like(result) for result in together]
    torch.autograd.backward(together, outer)
    for i, results in enumerate(alone):
        torch.autograd.backward(results, [gradient[i] for gradient in outer])
    for column, own in zip(together, zip(*alone, strict=True), strict=True):
        assert_close(column, own)
    for column, own in zip(stacked, zip(*members, strict=True), strict=True):
        assert_close(column.grad, [tensor.grad for tensor in own])


def test_members_may_have_inputs_in_common_and_a_stack_along_any_axis():
    torch.manual_seed(0)
    form, lengths = FORMS[0], torch.tensor(SMALL.lengths)
    x, weight, *others = make_inputs(form)
    weights = torch.stack([weight, 2 * weight], dim=1)
    together = vmap(lambda weight: call(form, (x, weight, *others), lengths)[0], in_dims=1)(weights)
    assert_close(together, [call(form, (x, own, *others), lengths)[0] for own in (weight, 2 * weight)])


def test_a_length_beyond_a_member_is_refused():
    form, lengths = FORMS[0], torch.tensor([SMALL.lengths, [SMALL.time + 1] * 5])
    tensors = make_inputs(form)
    with pytest.raises(ValueError, match="lengths must be on"):
        vmap(lambda lengths: call(form, tensors, lengths))(lengths)
