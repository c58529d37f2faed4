"""The operators' forms, inputs for them, and how outputs and gradients are compared with the plain twin."""

import itertools
from typing import NamedTuple

import plain
import pytest
import torch

from ffattn import ops
from ffattn.choices import NORMALIZERS, SCORES, TANH_STATES

SLOPE, SHIFT = 0.125, 0.3125
OPERATORS = {"feed_forward_attention": SCORES, "attention_pooling": (*SCORES, TANH_STATES)}


class Form(NamedTuple):
    """Which function: operator and options."""

    operator: str
    score: str
    normalizer: str
    has_shift: bool = False
    has_scale: bool = False

    def __str__(self):
        extras = ["shift"] * self.has_shift + ["scale"] * self.has_scale
        return "-".join((self.operator, self.score, self.normalizer, *extras))

    @property
    def is_embedded(self):
        return self.operator == "feed_forward_attention"

    def options(self, batch):
        """Scales are those of any lengths; zero is the logarithm of one."""
        scale = torch.tensor([1.5, 0.0, 0.25, 2.0, 1.0]).repeat(batch)[:batch] if self.has_scale else None
        options = {"shift": torch.tensor(SHIFT) if self.has_shift else None, "scale": scale}
        options |= {"slope": SLOPE} if self.is_embedded else {}
        return {**options, "score": self.score, "normalizer": self.normalizer}


class Case(NamedTuple):
    """Sizes: no two axes of a case are alike."""

    lengths: list[int]
    time: int
    features: int
    hidden: int


ALL_FORMS = [
    Form(operator, *options)
    for operator, scores in OPERATORS.items()
    for options in itertools.product(scores, NORMALIZERS, (False, True), (False, True))
]
THE_MEAN = "tanh", "mean", False, False  # stands for all forms of the mean, whose options mean nothing: tested once
FORMS = [form for form in ALL_FORMS if form.normalizer != "mean" or form[1:] == THE_MEAN]
PLAIN_FORMS = [form for form in FORMS if not (form.has_shift or form.has_scale)]
every_plain_form = pytest.mark.parametrize("form", PLAIN_FORMS, ids=str)
SMALL = Case([13, 1, 0, 7, 5], 13, 3, 11)  # side by side in one tile
LONG = Case([9001, 1, 8192], 9001, 3, 101)  # many tiles of one sequence, shared among threads
SHORT = Case([t % 62 for t in range(0, 401 * 7, 7)], 61, 2, 97)  # tiles of sixteen, shared among threads


def normal(*shape):
    """Normal numbers, the same ones for every device."""
    return torch.randn(shape, device="cpu").to(torch.get_default_device())


def grid(*shape, step=32.0):
    """Random multiples of 1/32 on -3..3: their products and sums are exact, so that no kink lies within rounding."""
    return (normal(*shape).clamp(-3, 3) * step).round() / step


def make_inputs(form, case=SMALL):
    """x and the parameters that the form has, in float32; some scores are positive, some are not."""
    batch = len(case.lengths)
    query = [] if form.normalizer == "mean" else [grid(case.hidden) / case.hidden**0.5, torch.full((1,), 0.5)]
    if not form.is_embedded:
        return [normal(batch, case.time, case.hidden), *query]
    return [grid(batch, case.time, case.features), grid(case.hidden, case.features), grid(case.hidden), *query]


def leaves(inputs, dtype=None):
    return [i.to(dtype or i.dtype, copy=True).requires_grad_() for i in inputs]


def names(form):
    """What the inputs are called."""
    embedding = ["weight", "bias"] if form.is_embedded else []
    return ["x", *embedding, *([] if form.normalizer == "mean" else ["query", "query_bias"])]


def outputs(form, inputs, lengths, twin=False):
    """Everything that an operator returns."""
    x, *parameters = inputs
    call = getattr(plain if twin else ops, form.operator)
    found = call(x, torch.as_tensor(lengths), *parameters, **form.options(len(x)))
    maximum, total, context, scores = found if twin else (*found[0], found[1])
    return {"maximum": maximum, "total": total, "context": context, "scores": scores}


def probe(tensor):
    """A gradient that treats every number of a tensor differently."""
    generator = torch.Generator("cpu").manual_seed(3)
    return torch.randn(tensor.shape, generator=generator, device="cpu").to(tensor)


def gradients(found, inputs, wanted):
    """Of the inputs, when the outputs with the wanted names receive their probes; the total of a mean is a constant."""
    kept = [found[name] for name in wanted if found[name].requires_grad]
    if not kept:
        return [torch.zeros_like(i) for i in inputs]
    incoming = [probe(output) for output in kept]
    return torch.autograd.grad(kept, inputs, incoming, allow_unused=True, materialize_grads=True)


def pooling_gradients(twin, form, inputs, lengths, needs_sequence):
    """What an implementation's own backward pass of `attention_pooling` returns, from a gradient of the context."""
    x, *queries = inputs
    options = form.options(len(x))
    arguments = x, lengths, *(queries or (None, None)), options["shift"], options["scale"]
    kept = twin.attention_pooling_forward(*arguments, form.score, form.normalizer)
    outer = None, probe(kept[2]), None
    return twin.attention_pooling_backward(*outer, *arguments, *kept, form.score, form.normalizer, needs_sequence)


def assert_sequence_is_left_out(twin, form, dtype=torch.float32):
    """Unless it is wanted; the other gradients are the same."""
    x, *queries = make_inputs(form)
    inputs, lengths = [x.to(dtype), *queries], torch.tensor(SMALL.lengths)
    g_sequence, *others = pooling_gradients(twin, form, inputs, lengths, needs_sequence=True)
    nothing, *same = pooling_gradients(twin, form, inputs, lengths, needs_sequence=False)
    assert (g_sequence.shape, g_sequence.dtype) == (x.shape, dtype)
    assert (nothing.shape, nothing.dtype) == ((0,), dtype)
    for i, (a, b) in enumerate(zip(same, others, strict=True)):
        assert torch.equal(a, b), i


def assert_agrees(form, case, wanted, dtypes, bars):
    """With the twin on the same numbers: every output, and the gradients from the wanted ones.

    Args:
        form: The function.
        case: The sizes.
        wanted: Names of outputs.
        dtypes: Those of x and of each parameter.
        bars: The largest relative difference of tensors of each type.
    """
    inputs = [i.to(dtype) for i, dtype in zip(make_inputs(form, case), dtypes, strict=False)]
    twins, inputs = leaves(inputs, torch.float64), leaves(inputs)
    actual, expected = outputs(form, inputs, case.lengths), outputs(form, twins, case.lengths, twin=True)
    for name, output in actual.items():
        assert output.dtype == (torch.float64 if dtypes[0] == torch.float64 else torch.float32)
        assert_near(name, output.detach(), expected[name].detach(), bars[output.dtype])
    outer = sum(probe(expected[name]).norm().item() for name in wanted)
    pairs = zip(gradients(actual, inputs, wanted), gradients(expected, twins, wanted), strict=True)
    for name, leaf, (gradient, twin) in zip(names(form), inputs, pairs, strict=True):
        assert gradient.dtype == leaf.dtype
        assert_near(f"d {name}", gradient, twin, bars[leaf.dtype], outer)


def everything(form, inputs, lengths, wanted=("context", "scores")):
    """Outputs, and gradients from the wanted ones, of fresh copies of the inputs."""
    return everything_of(form, leaves(inputs), lengths, wanted)


def everything_of(form, inputs, lengths, wanted=("context", "scores")):
    """The same of the inputs themselves, whose strides a copy may not have."""
    found = outputs(form, inputs, lengths)
    named = zip(names(form), gradients(found, inputs, wanted), strict=True)
    return {name: value.detach() for name, value in (*found.items(), *((f"d {name}", g) for name, g in named))}


def assert_near(name, actual, expected, bar, outer=0.0):
    """Differences are small beside the whole tensor, or beside a tenth of what came in."""
    infinite = expected.isinf()
    assert torch.equal(actual[infinite].double(), expected[infinite].double()), name
    difference = (actual.double() - expected)[~infinite].norm().item()
    assert difference <= bar * (expected[~infinite].norm().item() + 0.1 * outer), name


def assert_same(actual, expected):
    """Bit for bit; NaN equals NaN."""
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=0, atol=0, equal_nan=True, msg=name)
