"""What PyTorch is told about the operators: shapes, types and gradients, as torch.compile needs them."""

import inspect
from functools import partial

import pytest
import torch
from operator_cases import SMALL, Form, gradients, leaves, make_inputs, outputs
from torch.library import opcheck

from ffattn import nn, ops
from ffattn.nn import attention, masking, pooling
from ffattn.ops import arguments, operators, reference, registration
from tests.pairwise import pairwise

LENGTHS = torch.tensor(SMALL.lengths)
FORMS = [
    Form(operator, *options)
    for operator in ("feed_forward_attention", "attention_pooling")
    for options in (("tanh", "softmax", True, True), ("linear", "relu2"), ("tanh", "mean"))
]
pytestmark = pytest.mark.usefixtures("_without_type_checks")


@pytest.fixture
def _without_type_checks(monkeypatch):
    """A compiler can neither trace the checks that the tests install, nor pass symbols for numbers through them."""
    torch._dynamo.reset()
    poolings = nn.MultiHeadPooling, nn.GatedPooling, nn.StatisticsPooling
    layers = nn.AttentionPooling, nn.FeedForwardAttention, *nn.AttentionPooling.__bases__, *poolings
    for place in (ops, arguments, operators, reference, ops.Pooled, attention, masking, pooling, *layers):
        for name, value in list(vars(place).items()):
            if inspect.isfunction(value) and value.__module__.startswith("ffattn"):
                monkeypatch.setattr(place, name, inspect.unwrap(value))


def operator(form):
    return operators._feed_forward if form.is_embedded else operators._pooling


def backward_operator(form):
    return getattr(torch.ops.ffattn, f"{form.operator}_backward").default


def positional(form, inputs):
    """An operator's tensors, with None for a parameter that the form lacks; and its options."""
    x, *parameters = inputs
    parameters += [None, None] if form.normalizer == "mean" else []
    options = form.options(len(x))
    return (x, LENGTHS, *parameters, options["shift"], options["scale"]), tuple(options.values())[2:]


@pairwise(form=FORMS, dtype=[torch.float64, torch.float32, torch.bfloat16])
def test_forward_operators_are_what_they_say(form, dtype):
    tensors, options = positional(form, leaves(make_inputs(form), dtype))
    opcheck(operator(form), (*tensors, *options))


@pairwise(
    form=FORMS, dtype=[torch.float64, torch.float32, torch.bfloat16], needs_x=[True, False], has_scores=[True, False]
)
def test_backward_operators_are_what_they_say(form, dtype, needs_x, has_scores):
    tensors, options = positional(form, [i.to(dtype) for i in make_inputs(form)])
    kept = operator(form)(*tensors, *options)
    _, total, context, scores = (torch.randn_like(output) for output in kept)
    outer = (total, context, scores) if has_scores else (None, context, None)
    opcheck(backward_operator(form), (*outer, *tensors, *kept, *options, needs_x))


@pytest.mark.parametrize("form", FORMS[::3], ids=str)
def test_gradients_are_the_same_by_torchs_public_names_alone(form, monkeypatch):
    """As where a later torch has no way to skip autograd under the name that is known here."""
    monkeypatch.setattr(registration, "_SKIPPED", None)
    definition = operators.FEED_FORWARD if form.is_embedded else operators.POOLING
    public = registration.define(definition._replace(name=f"{form.operator}_by_public_names"))
    tensors, options = positional(form, leaves(make_inputs(form)))
    wanted = [tensor for tensor in tensors if tensor is not None and tensor.requires_grad]
    results = [call(*tensors, *options) for call in (operator(form), public)]
    found = [torch.autograd.grad(context.square().sum() + total.sum(), wanted) for _, total, context, _ in results]
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_compiled_function_gives_the_same(form):
    x, *parameters = leaves(make_inputs(form))
    options = form.options(len(x))

    def function(x, *parameters):
        pooled, scores = getattr(ops, form.operator)(x, LENGTHS, *parameters, **options)
        return {"scores": scores * 2, "context": pooled.context}

    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    expected, found = function(x, *parameters), compiled(x, *parameters)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    inputs, wanted = [x, *parameters], ("context", "scores")
    torch.testing.assert_close(gradients(found, inputs, wanted), gradients(expected, inputs, wanted), rtol=0, atol=0)


@pytest.mark.parametrize("cls", [nn.AttentionPooling, nn.FeedForwardAttention])
@pytest.mark.parametrize("options", [{"length_scale": True}, {"normalizer": "relu2"}, {"normalizer": "mean"}], ids=str)
def test_a_compiled_layer_gives_the_same_for_any_time(cls, options):
    layer = cls(3, **options)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for time in (7, 11):
        x, lengths = torch.randn(2, time, 3), torch.tensor([time, 2])
        torch.testing.assert_close(compiled(x, lengths), layer(x, lengths))
        torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("make", [partial(nn.MultiHeadPooling, num_heads=2), nn.GatedPooling, nn.StatisticsPooling])
def test_other_compiled_poolings_give_the_same(make):
    layer, x = make(3), torch.randn(2, 7, 3, requires_grad=True)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    lengths = torch.tensor([7, 2])
    for options in ({}, {"lengths": lengths}, {"mask": torch.arange(7) < lengths[:, None]}):
        expected, found = layer(x, **options), compiled(x, **options)
        torch.testing.assert_close(found, expected)
        grads = [torch.autograd.grad(context.square().sum(), x)[0] for context, _ in (expected, found)]
        torch.testing.assert_close(*grads)


def test_shapes_need_no_data():
    form = FORMS[0]._replace(has_shift=False, has_scale=False)
    found = outputs(form, [i.to("meta") for i in make_inputs(form)], LENGTHS.to("meta"))
    shapes = {name: tuple(output.shape) for name, output in found.items()}
    assert shapes == {"maximum": (5,), "total": (5,), "scores": (5, 13), "context": (5, 11)}
