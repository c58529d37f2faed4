"""The Triton kernels against the plain twin, outputs and gradients: on a GPU where there is one, else interpreted."""

import pytest
import torch
from helpers import spoil_padding
from operator_cases import (
    FORMS,
    PLAIN_FORMS,
    SMALL,
    Case,
    Form,
    assert_agrees,
    assert_sequence_is_left_out,
    everything,
    make_inputs,
    outputs,
)

pytest.importorskip("triton")

from ffattn.ops import operators, triton
from tests.pairwise import each_value, pairwise

CASES = {
    "one step": Case([1, 0, 1], 1, 2, 5),
    "one hidden unit": Case([17, 1, 3], 17, 2, 1),
    "nothing but empty sequences": Case([0, 0, 0], 7, 2, 5),
    "no step": Case([0, 0], 0, 2, 5),
    "several tiles": Case([41, 0, 17], 41, 3, 21),
    "many features": Case([9, 4], 9, 19, 7),
    "wide": Case([3], 3, 2, 260),
}
TANH_FORMS = [form for form in PLAIN_FORMS if form.score == "tanh"]
BARS = {torch.float32: 1e-5, torch.bfloat16: 2**-8 if torch.cuda.is_available() else 2**-7}  # the interpreter cuts off
pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _triton_serves(monkeypatch):
    monkeypatch.setattr(operators, "implementation", lambda x: triton)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # where the tests make their tensors
        yield


@pytest.fixture
def short_pieces(monkeypatch):
    """Sequences of some steps are cut into pieces, and a few programs share them."""
    monkeypatch.setattr(triton, "_SHORTEST", 8)
    monkeypatch.setattr(triton, "_TILE", 64)
    monkeypatch.setattr(triton, "_LANES", 8)
    monkeypatch.setattr(triton, "_GROUPS", 3)


@pairwise(form=FORMS, wanted=[("context", "scores"), ("total",)])
def test_outputs_and_gradients_are_the_twins(form, wanted):
    assert_agrees(form, SMALL, wanted, [torch.float32] * 5, BARS)


@each_value(form=TANH_FORMS, case=CASES)
def test_sizes_are_handled(form, case):
    assert_agrees(form, case, ["total", "context"], [torch.float32] * 5, BARS)


@pytest.mark.parametrize("form", TANH_FORMS, ids=str)
def test_no_sequence_has_no_output(form):
    inputs = make_inputs(form, Case([], 7, 2, 5))
    assert [len(output) for output in outputs(form, inputs, torch.tensor([], dtype=torch.int64)).values()] == [0] * 4


@pytest.mark.usefixtures("short_pieces")
@each_value(form=FORMS)
def test_pieces_of_several_tiles_are_merged(form, monkeypatch):
    monkeypatch.setattr(triton, "_LANES", 4)
    assert_agrees(form, Case([23, 0, 4, 1, 8], 23, 2, 5), ["context", "scores"], [torch.float32] * 5, BARS)


@each_value(form=PLAIN_FORMS, parameters=[torch.float32, torch.bfloat16])
def test_bfloat16_inputs_are_summed_in_float32(form, parameters):
    assert_agrees(form, SMALL, ["context"], [torch.bfloat16] + [parameters] * 4, BARS)


@pytest.mark.usefixtures("short_pieces")
@each_value(form=PLAIN_FORMS)
def test_garbage_in_padding_and_a_nan_in_a_sequence_reach_no_other_step(form):
    x, *parameters = make_inputs(form)
    clean = everything(form, [x, *parameters], SMALL.lengths)
    lengths = torch.tensor(SMALL.lengths)
    dirty = spoil_padding(x, lengths)
    dirty[0, 3, 1] = torch.nan
    spoiled = everything(form, [dirty, *parameters], SMALL.lengths)
    assert spoiled["context"][0].isnan().any()
    for name in ("maximum", "total", "context", "scores", "d x"):
        assert torch.equal(spoiled[name][1:], clean[name][1:]), name
    assert not clean["d x"][torch.arange(SMALL.time) >= lengths[:, None]].any()


@pytest.mark.parametrize("form", [f for f in PLAIN_FORMS if not f.is_embedded and f.normalizer != "mean"], ids=str)
def test_the_gradient_of_a_sequence_is_made_only_if_it_is_wanted(form):
    assert_sequence_is_left_out(triton, form)


@pytest.mark.parametrize("operator", ["feed_forward_attention", "attention_pooling"])
def test_any_strides_give_the_same(operator):
    form = Form(operator, "tanh", "softmax")
    x, *parameters = make_inputs(form)
    strided = x.transpose(0, 2).contiguous().transpose(0, 2)
    expected, found = (everything(form, [i, *parameters], SMALL.lengths) for i in (x, strided))
    for name, tensor in expected.items():  # a compiler may add in another order
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("sign", [1, -1])
def test_softmax_takes_scores_of_ten_thousand(sign):
    """exp overflows beyond 88; the largest score may come in the first piece or in the last."""
    x = torch.zeros(1, 20, 2)
    x[0, :, 0], x[0, :, 1] = torch.linspace(1, -1, 20), 1
    form = Form("attention_pooling", "linear", "softmax")
    found = everything(form, [x, sign * torch.tensor([1e4, 0.0]), torch.zeros(1)], [20])
    torch.testing.assert_close(found["context"][0], x[0, 0 if sign > 0 else 19])
    assert all(tensor.isfinite().all() for tensor in found.values())
