"""What holds for every form, whichever implementation serves it: padding, NaN, strides, threads, compilation."""

import concurrent.futures
from types import SimpleNamespace

import pytest
import torch
from helpers import spoil_padding
from operator_cases import (
    FORMS,
    LONG,
    OPERATORS,
    PLAIN_FORMS,
    SHORT,
    SMALL,
    Case,
    Form,
    assert_near,
    assert_same,
    assert_sequence_is_left_out,
    every_plain_form,
    everything,
    everything_of,
    gradients,
    leaves,
    make_inputs,
    names,
    outputs,
)

from ffattn import ops
from ffattn.ops import cpu, operators, reference
from tests.pairwise import pairwise

LENGTHS = torch.tensor(SMALL.lengths)
BARS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2}  # of gradients rounded to bfloat16 twice
every_operator = pytest.mark.parametrize("operator", OPERATORS)
every_precision = pytest.mark.parametrize("dtype", BARS, ids=str)


TILES = {"in its tile": SMALL, "in other tiles": Case([600, 13, 601, 0], 601, 3, 11)}


def make_mixed(form, dtype, case=SMALL):
    """x in some precision, and the parameters in at least float32."""
    x, *parameters = make_inputs(form, case)
    return [x.to(dtype), *(p.to(torch.float64 if dtype == torch.float64 else torch.float32) for p in parameters)]


def pad_with_nan(x, steps):
    return torch.cat((x, x.new_full((len(x), steps, x.shape[2]), torch.nan)), dim=1)


@pairwise(form=FORMS, dtype=BARS)
def test_garbage_in_padding_reaches_no_output_and_no_gradient(form, dtype):
    x, *parameters = make_mixed(form, dtype)
    clean = everything(form, [x, *parameters], LENGTHS)
    assert_same(everything(form, [spoil_padding(x, LENGTHS), *parameters], LENGTHS), clean)
    padding = torch.arange(SMALL.time) >= LENGTHS[:, None]
    assert not clean["d x"][padding].any()
    assert form.normalizer == "mean" or not clean["scores"][padding].any()


@pairwise(form=PLAIN_FORMS, case={"small": SMALL, "long": LONG})
def test_ten_thousand_steps_of_padding_change_no_bit(form, case):
    x, *parameters = make_inputs(form, case)
    short, long = (everything(form, [i, *parameters], case.lengths, ["context"]) for i in (x, pad_with_nan(x, 10_000)))
    for name in ("scores", "d x"):
        assert not long[name][:, case.time :].any()
        long[name] = long[name][:, : case.time]
    assert_same(long, short)


@pairwise(form=FORMS, dtype=BARS)
def test_what_an_empty_sequence_leaves(form, dtype):
    found = everything(form, make_mixed(form, dtype), LENGTHS)
    assert found["maximum"][2].item() == (-torch.inf if form.normalizer == "softmax" else 0.0)
    assert not any(found[name][2].any() for name in ("total", "context", "scores", "d x"))


@pairwise(form=PLAIN_FORMS, dtype=BARS)
def test_a_nan_in_a_parameter_reaches_every_context(form, dtype):
    inputs, lengths = make_mixed(form, dtype), [13, 1, 2, 7, 5]
    for i, name in enumerate(names(form)[1:], start=1):
        spoiled = [tensor.clone() for tensor in inputs]
        spoiled[i].view(-1)[0] = torch.nan
        found = everything(form, spoiled, lengths)
        assert found["context"].isnan().any(dim=1).all(), name


@pairwise(form=PLAIN_FORMS, dtype=BARS, value=[torch.nan, torch.inf], case=TILES)
def test_a_nan_in_a_sequence_stays_in_it(form, dtype, value, case):
    x, *parameters = make_mixed(form, dtype, case)
    clean = everything(form, [x, *parameters], case.lengths)
    x[0, 3, 1] = value
    spoiled = everything(form, [x, *parameters], case.lengths)
    assert not spoiled["context"][0].isfinite().all()
    rows = ("maximum", "total", "context", "scores", "d x")
    assert_same({name: spoiled[name][1:] for name in rows}, {name: clean[name][1:] for name in rows})


@every_precision
@every_operator
@pytest.mark.parametrize("sign", [1, -1])
def test_softmax_takes_scores_of_ten_thousand(operator, dtype, sign):
    """exp overflows beyond 88 in float32; the largest score may come first or last."""
    form = Form(operator, "linear", "softmax")
    x = torch.tensor([[[1.0, -1.0], [0.5, -0.5], [-1.0, 1.0]]], dtype=dtype)
    embedding = [torch.eye(2), torch.zeros(2)] if form.is_embedded else []
    found = everything(form, [x, *embedding, sign * torch.tensor([1e4, -1e4]), torch.zeros(1)], [3])
    winner = x[0, 0 if sign > 0 else 2].to(found["context"].dtype)
    states = torch.where(winner > 0, winner, winner / 8) if form.is_embedded else winner
    assert found["scores"].abs().max() > 1e4
    torch.testing.assert_close(found["context"][0], states)
    assert all(tensor.isfinite().all() for tensor in found.values())


@every_precision
@every_operator
def test_relu2_without_a_positive_score_has_zero_context_and_gradients(operator, dtype):
    """Beside a sequence that has one: the dead one must not disturb it."""
    form = Form(operator, "linear", "relu2")
    x = torch.tensor([[[-1.0], [-2.0], [-3.0]], [[-1.0], [2.0], [-3.0]]], dtype=dtype)
    embedding = [torch.ones(1, 1), torch.zeros(1)] if form.is_embedded else []
    inputs = leaves([x, *embedding, torch.ones(1), torch.zeros(1)])
    found = outputs(form, inputs, [3, 3])
    d_x, *others = torch.autograd.grad(found["context"].sum(), inputs)
    assert found["context"].tolist() == [[0.0], [2.0]]
    assert d_x.flatten(1).tolist() == [[0.0] * 3, [0.0, 1.0, 0.0]]
    assert all(gradient.isfinite().all() for gradient in others)


@pairwise(form=PLAIN_FORMS, case={"many steps": LONG, "many sequences": SHORT})
def test_threads_change_no_bit(form, case):
    threads, inputs, found = torch.get_num_threads(), make_inputs(form, case), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            found.append(everything(form, inputs, case.lengths))
    finally:
        torch.set_num_threads(threads)
    assert_same(found[1], found[0])
    assert_same(found[2], found[0])


@every_operator
def test_callers_in_several_threads_do_not_disturb_each_other(operator):
    form = Form(operator, "tanh", "softmax")
    inputs = make_inputs(form, LONG)
    expected = everything(form, inputs, LONG.lengths)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for found in pool.map(lambda _: everything(form, inputs, LONG.lengths), range(3)):
            assert_same(found, expected)


def every_other(x):
    batch, time, features = x.shape
    return x.new_full((batch, 2 * time, 3 * features), torch.nan)[:, ::2, 1::3].copy_(x)


VIEWS = {  # what is not contiguous
    "time first": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "features first": lambda x: x.transpose(1, 2).contiguous().transpose(1, 2),
    "every other": every_other,
    "one sequence": lambda x: x[:1].expand_as(x),
    "one step": lambda x: x[:, :1].expand_as(x),
    "one feature": lambda x: x[:, :, :1].expand_as(x),
}


@pairwise(form=PLAIN_FORMS, dtype=[torch.float64, torch.float32], view=VIEWS)
def test_any_strides_give_the_same(form, dtype, view):
    x, *parameters = make_mixed(form, dtype)
    strided = view(x)
    assert not strided.is_contiguous()
    both = ([i.detach().requires_grad_(), *leaves(parameters)] for i in (strided, strided.contiguous()))
    found, copied = (everything_of(form, inputs, LENGTHS) for inputs in both)
    for name, tensor in copied.items():
        assert_near(name, found[name], tensor.double(), BARS[dtype])


@pytest.mark.slow  # it has a kernel of its own: 40 s of compiling
@every_plain_form
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_any_strides_of_bfloat16_give_the_same(form, view):
    test_any_strides_give_the_same(form, torch.bfloat16, view)


@pairwise(form=FORMS, dtype=BARS)
def test_expanded_gradients_give_the_same(form, dtype):
    """Those of a sum are one number, expanded."""
    inputs = leaves(make_mixed(form, dtype))
    found = outputs(form, inputs, LENGTHS)
    kept = [found[name] for name in ("total", "context", "scores")]
    summed = torch.autograd.grad(sum(output.sum() for output in kept), inputs, retain_graph=True)
    torch.testing.assert_close(summed, torch.autograd.grad(kept, inputs, [torch.ones_like(k) for k in kept]))


@every_precision
@every_operator
def test_parameters_of_any_strides_give_the_same(operator, dtype):
    form = Form(operator, "tanh", "softmax")
    x, *parameters = make_mixed(form, dtype, Case([13, 2, 7], 13, 4, 6))  # even: no padding makes them contiguous
    strided = [
        torch.stack((p.mT, -p.mT), dim=-1)[..., 0].mT if p.ndim == 2 else torch.stack((p, p), dim=-1)[:, 0]
        for p in parameters[:-1]
    ]
    assert not any(p.is_contiguous() for p in strided)
    plain, found = (everything(form, [x, *p], [13, 2, 7]) for p in (parameters, [*strided, parameters[-1]]))
    for name, tensor in plain.items():
        assert_near(name, found[name], tensor.double(), BARS[dtype])


@pairwise(form=PLAIN_FORMS, dtype=BARS)
def test_gradients_that_nobody_wants_are_not_missed(form, dtype):
    """Training needs none of x, and fine-tuning may freeze any parameter."""
    inputs = leaves(make_mixed(form, dtype))
    wanted = "context", "scores"
    expected = gradients(outputs(form, inputs, LENGTHS), inputs, wanted)
    for i, (leaf, gradient) in enumerate(zip(inputs, expected, strict=True)):
        alone = [tensor.detach() for tensor in inputs]
        alone[i] = leaf
        found = outputs(form, alone, LENGTHS)
        if any(found[name].requires_grad for name in wanted):
            assert torch.equal(gradients(found, [leaf], wanted)[0], gradient)


POOLING_FORMS = [form for form in FORMS if not form.is_embedded and form.normalizer != "mean"]


@pytest.mark.parametrize("form", POOLING_FORMS, ids=str)
@pytest.mark.parametrize(("twin", "dtype"), [(cpu, torch.float32), (cpu, torch.bfloat16), (reference, torch.float64)])
def test_the_gradient_of_a_sequence_is_made_only_if_it_is_wanted(form, twin, dtype):
    assert_sequence_is_left_out(twin, form, dtype)


@pytest.mark.parametrize("is_wanted", [False, True])
def test_a_frozen_sequence_asks_for_no_gradient(is_wanted, monkeypatch):
    asked = []

    def backward(*arguments):
        asked.append(arguments[-1])
        return reference.attention_pooling_backward(*arguments)

    forward = reference.attention_pooling_forward
    twin = SimpleNamespace(attention_pooling_forward=forward, attention_pooling_backward=backward)
    monkeypatch.setattr(operators, "implementation", lambda x: twin)
    form = Form("attention_pooling", "tanh", "softmax")
    x, *queries = leaves(make_inputs(form))
    x.requires_grad_(is_wanted)
    outputs(form, [x, *queries], LENGTHS)["context"].sum().backward()
    assert asked == [is_wanted]
    assert (x.grad is not None) == is_wanted
    assert all(query.grad is not None for query in queries)


@every_operator
def test_shift_and_scale_are_constants(operator):
    form = Form(operator, "linear", "softmax")
    inputs, constants = leaves(make_inputs(form)), [torch.tensor(0.5), torch.ones(5)]
    shift, scale = leaves(constants)
    options = {**form.options(5), "shift": shift, "scale": scale}
    pooled, _ = getattr(ops, operator)(inputs[0], LENGTHS, *inputs[1:], **options)
    assert torch.autograd.grad(pooled.context.sum(), [shift, scale], allow_unused=True) == (None, None)


@every_operator
def test_a_second_derivative_is_refused(operator):
    """Rather than taken for zero."""
    form = Form(operator, "tanh", "softmax")
    inputs = leaves(make_inputs(form))
    first = torch.autograd.grad(outputs(form, inputs, LENGTHS)["context"].sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        torch.autograd.grad(first[0].sum(), inputs)


@pairwise(form=FORMS)
def test_autocast_changes_nothing(form):
    inputs = make_inputs(form)
    expected = everything(form, inputs, LENGTHS)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(everything(form, inputs, LENGTHS), expected)
