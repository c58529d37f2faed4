"""Arguments that do not fit are refused, in a line that names them."""

import pytest
import torch
from operator_cases import OPERATORS, Case, Form, make_inputs

from ffattn import ops
from tests.pairwise import pairwise

CASE = Case([7, 3], 7, 3, 5)
SIZES_OF_PARAMETERS = {"weight": (5, 3), "bias": (5,), "query": (5,), "query_bias": (1,)}
every_operator = pytest.mark.parametrize("operator", OPERATORS)
PARAMETERS = [
    *(("feed_forward_attention", name) for name in ("weight", "bias")),
    *((operator, name) for operator in OPERATORS for name in ("lengths", "query", "query_bias", "shift", "scale")),
]


def call(operator, **changes):
    """Call an operator with arguments that fit, but for some."""
    torch.manual_seed(0)
    names = (
        ["weight", "bias", "query", "query_bias"] if operator == "feed_forward_attention" else ["query", "query_bias"]
    )
    x, *parameters = make_inputs(Form(operator, "tanh", "softmax"), CASE)
    arguments = {**dict(zip(names, parameters, strict=True)), "shift": torch.tensor(0.5), "scale": torch.ones(2)}
    arguments |= {"lengths": torch.tensor(CASE.lengths), **changes}
    return getattr(ops, operator)(arguments.pop("x", x), arguments.pop("lengths"), **arguments)


@every_operator
def test_arguments_that_fit(operator):
    call(operator)


@every_operator
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_a_query_may_be_the_weight_of_a_linear_layer(operator, dtype):
    """By the compiled and by the plain implementation; its gradient has its shape."""
    x = torch.randn(2, 7, 3 if operator == "feed_forward_attention" else 5, dtype=dtype)
    flat = torch.randn(5).requires_grad_()
    row = flat.detach()[None].requires_grad_()
    for query in (flat, row):
        call(operator, x=x, query=query)[0].context.sum().backward()
    assert row.grad.shape == (1, 5)
    torch.testing.assert_close(row.grad[0], flat.grad, rtol=0, atol=0)


@every_operator
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32], ids=str)
def test_lengths_are_of_any_integer_type(operator, dtype):
    """Of short sequences, some of them empty, which the CPU's kernel sorts."""
    lengths = torch.tensor([3, 0, 7, 1] * 10)
    changes = {"x": torch.randn(40, 7, 3 if operator == "feed_forward_attention" else 5), "scale": torch.ones(40)}
    expected, _ = call(operator, lengths=lengths, **changes)
    found, _ = call(operator, lengths=lengths.to(dtype), **changes)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@every_operator
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 7, 4)}, r"weight has shape \(5, 3\); must be \(5, 4\)|query has shape"),
        ({"x": torch.zeros(7, 3)}, r"shape \(7, 3\).*must be \(batch, time,"),
        ({"x": torch.zeros(1, 2, 7, 3)}, r"shape \(1, 2, 7, 3\).*must be \(batch, time,"),
        ({"lengths": torch.tensor([7, 3, 1])}, r"lengths has shape \(3,\); must be \(2,\)"),
        ({"lengths": torch.tensor([[7], [3]])}, r"lengths has shape \(2, 1\)"),
        ({"lengths": torch.tensor(7)}, r"lengths has shape \(\)"),
        ({"query": torch.zeros(4)}, r"query has shape \(4,\)"),
        ({"query": torch.zeros(5, 1)}, r"query has shape \(5, 1\); must be \(1, 5\)"),
        ({"query_bias": torch.zeros(())}, r"query_bias has shape \(\); must be \(1,\)"),
        ({"query_bias": torch.zeros(5)}, r"query_bias has shape \(5,\)"),
        ({"shift": torch.zeros(2)}, r"shift has shape \(2,\); must be \(\)"),
        ({"scale": torch.ones(3)}, r"scale has shape \(3,\); must be \(2,\)"),
        ({"scale": torch.ones(1)}, r"scale has shape \(1,\); must be \(2,\)"),
    ],
    ids=lambda value: str({k: tuple(v.shape) for k, v in value.items()}) if isinstance(value, dict) else "",
)
def test_shapes_that_do_not_fit(operator, change, message):
    with pytest.raises(ValueError, match=message):
        call(operator, **change)


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("weight", torch.zeros(5, 4)),
        ("weight", torch.zeros(3, 5)),
        ("weight", torch.zeros(5)),
        ("bias", torch.zeros(4)),
        ("bias", torch.zeros(1, 5)),
    ],
)
def test_embeddings_that_do_not_fit(name, tensor):
    with pytest.raises(ValueError, match=rf"{name}.* \({', '.join(map(str, tensor.shape))},?\)"):
        call("feed_forward_attention", **{name: tensor})


@every_operator
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 7, 3, dtype=torch.int64)}, r"torch.int64; must be floating-point"),
        ({"x": torch.zeros(2, 7, 3, dtype=torch.bool)}, r"torch.bool; must be floating-point"),
        ({"x": torch.zeros(2, 7, 3, dtype=torch.complex64)}, r"torch.complex64; must be floating-point"),
        ({"lengths": torch.tensor([7.0, 3.0])}, r"lengths are torch.float32; must be integers"),
        ({"lengths": torch.tensor([True, True])}, r"lengths are torch.bool; must be integers"),
        ({"lengths": torch.tensor([7j, 3j])}, r"lengths are torch.complex64; must be integers"),
        ({"scale": torch.tensor([0.5, -1.0])}, r"scale must not be negative; got -1$"),
        ({"scale": torch.tensor([0.0, -torch.inf])}, r"scale must not be negative; got -inf$"),
        ({"lengths": torch.tensor([8, 3])}, r"lengths must be on 0\.\.7.*got 3\.\.8"),
        ({"lengths": torch.tensor([7, -1])}, r"lengths must be on 0\.\.7.*got -1\.\.7"),
        ({"score": "cubic"}, "score=cubic: must be one of tanh, linear"),
        ({"score": ""}, "score=: must be one of"),
        ({"normalizer": "sparsemax"}, "normalizer=sparsemax: must be one of softmax, relu2, mean"),
        ({"query": None}, "query and query_bias belong to every normalizer but mean"),
        ({"query_bias": None}, "query and query_bias belong"),
        ({"query": None, "query_bias": None}, "query and query_bias belong"),
        ({"normalizer": "mean"}, "query and query_bias belong"),
        ({"normalizer": "mean", "query": None}, "query and query_bias belong"),
    ],
    ids=str,
)
def test_types_and_options_that_do_not_fit(operator, change, message):
    with pytest.raises(ValueError, match=message):
        call(operator, **change)


@pairwise(
    parameter=[pair for pair in PARAMETERS if pair[1] in SIZES_OF_PARAMETERS],
    dtype=[torch.float64, torch.int64, torch.bool, torch.complex64],
    like=[torch.float32, torch.bfloat16],
)
def test_parameters_of_a_type_that_would_be_rounded(parameter, dtype, like):
    """Results are in float32 unless the sequences are in float64, so that float64 weights would lose half of it."""
    operator, name = parameter
    x = torch.zeros(2, 7, 3 if operator == "feed_forward_attention" else 5, dtype=like)
    with pytest.raises(ValueError, match=rf"^{name} is {dtype}; must be torch\.float32 or .* for sequences in {like}$"):
        call(operator, x=x, **{name: torch.zeros(SIZES_OF_PARAMETERS[name], dtype=dtype)})


@every_operator
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_float64_sequences_take_parameters_of_any_precision(operator, dtype):
    x = torch.zeros(2, 7, 3 if operator == "feed_forward_attention" else 5, dtype=torch.float64)
    pooled, scores = call(operator, x=x, query=torch.zeros(5, dtype=dtype))
    assert {tensor.dtype for tensor in (*pooled, scores)} == {torch.float64}


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_slopes_from_zero_to_one(slope):
    call("feed_forward_attention", slope=slope)


@pytest.mark.parametrize("slope", [-0.01, 1.01, float("nan"), float("inf")])
def test_slopes_beyond_zero_to_one(slope):
    with pytest.raises(ValueError, match=f"slope={slope}: must be on 0..1"):
        call("feed_forward_attention", slope=slope)


def test_the_embedded_operator_has_no_score_of_states():
    with pytest.raises(ValueError, match=r"score=tanh_states: must be one of tanh, linear$"):
        call("feed_forward_attention", score="tanh_states")


@pytest.mark.parametrize(("operator", "name"), PARAMETERS)
def test_a_tensor_on_another_device(operator, name):
    sizes = {"lengths": (2,), "shift": (), "scale": (2,), **SIZES_OF_PARAMETERS}
    tensor = torch.zeros(sizes[name], dtype=torch.int64 if name == "lengths" else torch.float32, device="meta")
    with pytest.raises(ValueError, match=f"{name} is on meta; the sequences are on cpu"):
        call(operator, **{name: tensor})


@every_operator
def test_sequences_on_another_device(operator):
    features = 3 if operator == "feed_forward_attention" else 5
    with pytest.raises(ValueError, match="is on cpu; the sequences are on meta"):
        call(operator, x=torch.zeros(2, 7, features, device="meta"))


@every_operator
def test_lengths_may_be_any_integers(operator):
    pooled, others = (call(operator, lengths=torch.tensor([7, 3], dtype=dtype)) for dtype in (torch.int64, torch.int32))
    torch.testing.assert_close(others, pooled)


@pairwise(
    operator=OPERATORS.keys(),
    dtype=[torch.float64, torch.float32],
    size=[(0, 7), (2, 0), (0, 0)],
    normalizer=["softmax", "relu2", "mean"],
)
def test_nothing_adds_up_to_nothing(operator, dtype, size, normalizer):
    """A stream may end with a piece without steps."""
    batch, time = size
    form = Form(operator, "tanh", normalizer)
    x, *parameters = (i.to(dtype).requires_grad_() for i in make_inputs(form, Case([time] * batch, time, 3, 5)))
    pooled, scores = getattr(ops, operator)(x, torch.full((batch,), time), *parameters, normalizer=normalizer)
    assert pooled.maximum.tolist() == [-torch.inf if normalizer == "softmax" else 0.0] * batch
    assert not pooled.total.any()
    assert not pooled.context.any()
    assert scores.shape == (batch, 0 if normalizer == "mean" else time)
    for gradient in torch.autograd.grad(pooled.context.sum(), [x, *parameters]):
        assert not gradient.any()
