import itertools
import math
from typing import NamedTuple

import pytest
import torch
from helpers import spoil_padding
from torch.autograd import gradcheck
from torch.func import functional_call
from torch.nn.functional import leaky_relu

from ffattn.choices import NORMALIZERS, SCORES
from ffattn.nn import AttentionPooling, FeedForwardAttention, RecurrentEncoder
from tests.pairwise import pairwise

BATCH, TIME, FEATURES, HIDDEN = 3, 7, 2, 5
LENGTHS = torch.tensor([7, 1, 4])
LAYERS = AttentionPooling, FeedForwardAttention


class Options(NamedTuple):
    """Options of a layer that change what it computes; a mean ignores the others."""

    score: str
    normalizer: str
    length_scale: bool

    def __str__(self):
        return "-".join(map(str, self))


OPTIONS = [Options(*options) for options in itertools.product(SCORES, NORMALIZERS, (False, True))]
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)
every_layer = pytest.mark.parametrize("cls", LAYERS)
layers_and_options = pairwise(cls=LAYERS, options=OPTIONS)
every_normalizer = pytest.mark.parametrize("normalizer", NORMALIZERS)


def make_layer(cls, **options):
    sizes = (FEATURES, HIDDEN) if cls is FeedForwardAttention else (FEATURES,)
    return cls(*sizes, **options).double()


def make_x(time=TIME):
    return torch.randn(BATCH, time, FEATURES, dtype=torch.float64)


def attend(layer, x, lengths=None):
    """Context and weights, whichever layer it is."""
    return layer(x, lengths, return_weights=True) if isinstance(layer, FeedForwardAttention) else layer(x, lengths)


def context_and_gradients(layer, x, lengths):
    """Everything that training sees: the context, the gradient of each parameter, and that of x."""
    x = x.clone().requires_grad_()
    context, weights = attend(layer, x, lengths)
    gradients = torch.autograd.grad(context.square().sum(), [*layer.parameters(), x])
    return context, weights, *gradients


@every_option
def test_pooling_follows_the_formula(options):
    """A sequence at a time: e = w . h + b, perhaps its tanh, perhaps times log(length); then normalised."""
    layer, x = make_layer(AttentionPooling, **options._asdict()), make_x()
    context, weights = layer(x, LENGTHS)
    for row, length, c, a in zip(x, LENGTHS.tolist(), context, weights, strict=True):
        steps = row[:length]
        expected = torch.full((length,), 1 / length, dtype=x.dtype)
        if options.normalizer != "mean":
            scores = steps @ layer.query.weight[0] + layer.query.bias
            scores = scores.tanh() if options.score == "tanh" else scores
            squares = scores.clamp(min=0).square()
            scale = math.log(length) if options.length_scale else 1
            softmax = (scores * scale).softmax(dim=0)
            expected = softmax if options.normalizer == "softmax" else squares / squares.sum().clamp(min=1e-300)
        torch.testing.assert_close(a[:length], expected)
        torch.testing.assert_close(c, expected @ steps)
        assert not a[length:].any()


@every_option
def test_feed_forward_attention_pools_the_embedded_steps(options):
    layer = make_layer(FeedForwardAttention, slope=0.2, **options._asdict())
    pooling = AttentionPooling(HIDDEN, **options._asdict()).double()
    if layer.query is not None:
        pooling.query.load_state_dict(layer.query.state_dict())
    x = make_x()
    context, weights = layer(x, LENGTHS, return_weights=True)
    torch.testing.assert_close((context, weights), pooling(leaky_relu(layer.embed(x), 0.2), LENGTHS))
    torch.testing.assert_close(layer(x, LENGTHS), context)


@layers_and_options
def test_gradcheck(cls, options):
    layer = make_layer(cls, **options._asdict())
    names = [name for name, _ in layer.named_parameters()]

    def context_and_weights(x, *parameters):
        return functional_call(layer, dict(zip(names, parameters, strict=True)), x, {"lengths": LENGTHS[:2]})

    assert gradcheck(context_and_weights, (make_x()[:2].requires_grad_(), *layer.parameters()))


@layers_and_options
def test_weights_sum_to_one_on_real_steps(cls, options):
    layer = make_layer(cls, **options._asdict())
    if layer.query is not None:
        torch.nn.init.constant_(layer.query.bias, 9.0)  # some score is positive, so that relu2 attends
    _, weights = attend(layer, make_x(), LENGTHS)
    assert weights.shape == (BATCH, TIME)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(BATCH, dtype=torch.float64))
    assert not weights[torch.arange(TIME) >= LENGTHS[:, None]].any()


@pairwise(cls=LAYERS, options=OPTIONS, training=[False, True])
def test_garbage_in_padding_reaches_no_result_and_no_gradient(cls, options, training):
    layer, x = make_layer(cls, score_jitter=0.3, **options._asdict()).train(training), make_x()
    torch.manual_seed(1)
    clean = context_and_gradients(layer, x, LENGTHS)
    torch.manual_seed(1)
    spoiled = context_and_gradients(layer, spoil_padding(x, LENGTHS), LENGTHS)
    assert all(torch.equal(a, b) for a, b in zip(clean, spoiled, strict=True))
    assert not clean[-1][torch.arange(TIME) >= LENGTHS[:, None]].any()


@layers_and_options
def test_a_longer_padding_changes_nothing(cls, options):
    layer, x = make_layer(cls, **options._asdict()), make_x()
    longer = torch.cat((x, make_x(4)), dim=1)
    *short, x_gradient = context_and_gradients(layer, x, LENGTHS)
    *long, longer_gradient = context_and_gradients(layer, longer, LENGTHS)
    long[1] = long[1][:, :TIME]
    torch.testing.assert_close((*long, longer_gradient[:, :TIME]), (*short, x_gradient))


@every_layer
@every_normalizer
def test_without_lengths_every_step_counts(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer), make_x()
    torch.testing.assert_close(attend(layer, x), attend(layer, x, torch.full((BATCH,), TIME)))


@every_normalizer
def test_lengths_are_a_prefix_mask(normalizer):
    layer, x = make_layer(AttentionPooling, normalizer=normalizer), make_x()
    mask = torch.arange(TIME) < LENGTHS[:, None]
    torch.testing.assert_close(layer(x, mask=mask), layer(x, LENGTHS))


@every_option
def test_any_mask_pools_the_steps_it_leaves(options):
    layer, x = make_layer(AttentionPooling, **options._asdict()), make_x()
    mask = torch.tensor([[0, 1, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0, 1], [1] * 7], dtype=torch.bool)
    context, weights = layer(x.masked_fill(~mask[..., None], torch.nan), mask=mask)
    assert not weights[~mask].any()
    for row, real, c, a in zip(x, mask, context, weights, strict=True):
        alone, alone_weights = layer(row[real][None])
        torch.testing.assert_close((c, a[real]), (alone[0], alone_weights[0]))


@every_layer
def test_a_dead_relu2_has_zero_weights_context_and_gradients(cls):
    layer = make_layer(cls, normalizer="relu2")
    torch.nn.init.zeros_(layer.query.weight)
    torch.nn.init.constant_(layer.query.bias, -0.5)
    for tensor in context_and_gradients(layer, make_x(), LENGTHS):
        assert not tensor.any()


@pytest.mark.parametrize(("normalizer", "bias"), [("softmax", 0.0), ("relu2", 1.0)])
@every_layer
def test_relu2_starts_alive(cls, normalizer, bias):
    assert make_layer(cls, normalizer=normalizer).query.bias.tolist() == [bias]


@every_layer
def test_the_mean_learns_no_scores(cls):
    assert make_layer(cls, normalizer="mean").query is None


@layers_and_options
def test_jitter_is_for_training_only(cls, options):
    layer = make_layer(cls, score_jitter=5.0, **options._asdict())
    plain = make_layer(cls, **options._asdict())
    x = make_x()
    plain.load_state_dict(layer.state_dict())
    torch.testing.assert_close(attend(layer.eval(), x, LENGTHS), attend(plain.train(), x, LENGTHS))


@every_layer
@pytest.mark.parametrize("score", SCORES)
def test_jitter_leaves_softmax_alone_and_moves_relu2(cls, score):
    x = make_x()
    for normalizer, moves in (("softmax", False), ("mean", False), ("relu2", True)):
        layer = make_layer(cls, score=score, normalizer=normalizer, score_jitter=5.0)
        (jittered, _), (plain, _) = attend(layer.train(), x, LENGTHS), attend(layer.eval(), x, LENGTHS)
        several = LENGTHS > 1  # a single step has weight one whatever its score
        assert torch.allclose(jittered[several], plain[several]) is not moves


def test_jitter_is_one_number_for_the_batch_drawn_from_zero_to_its_bound():
    """relu2 of equal linear scores b + j against one step scored b2 + j: the shift can be read off the weights."""
    layer = AttentionPooling(1, score="linear", normalizer="relu2", score_jitter=0.5)
    torch.nn.init.ones_(layer.query.weight)
    torch.nn.init.zeros_(layer.query.bias)
    x = torch.tensor([[[1.0], [2.0]], [[2.0], [1.0]]])
    shifts = []
    for _ in range(200):
        _, weights = layer(x)
        assert torch.equal(weights[0], weights[1].flip(0))
        ratio = (weights[0, 1] / weights[0, 0]).sqrt().item()  # (2 + j) / (1 + j)
        shifts.append((2 - ratio) / (ratio - 1))
    assert -1e-5 < min(shifts) < 0.02
    assert 0.48 < max(shifts) < 0.5 + 1e-5


@pytest.mark.usefixtures("without_shape_checks")
@every_layer
@pytest.mark.parametrize("lengths", [[0, 1, 1], [8, 1, 1], [-1, 1, 1], [1, 1], [[1], [1], [1]]], ids=str)
def test_impossible_lengths_are_refused(cls, lengths):
    with pytest.raises(ValueError, match="lengths"):
        make_layer(cls)(make_x(), torch.tensor(lengths))


@pytest.mark.usefixtures("without_shape_checks")
@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool, torch.complex64], ids=str)
def test_lengths_that_are_no_integers_are_refused(cls, dtype):
    """In one line, wherever they are given: by the layers, their states, and the recurrent encoder."""
    layer, x, lengths = make_layer(cls), make_x(), torch.ones(BATCH, dtype=dtype)
    encoder = RecurrentEncoder("lstm", FEATURES, HIDDEN).double()
    for takes_lengths in (layer, layer.start().update, encoder):
        with pytest.raises(ValueError, match=f"^lengths are {dtype}; must be integers$"):
            takes_lengths(x, lengths)


@every_layer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_float64_weights_for_less_precise_sequences_are_refused(cls, dtype):
    with pytest.raises(ValueError, match=r"^(weight|query) is torch.float64; must be torch.float32 or .* sequences in"):
        make_layer(cls)(make_x().to(dtype))


@every_layer
def test_a_second_derivative_is_refused(cls):
    """Rather than taken for zero; a mask takes plain PyTorch, which has one."""
    layer, x = make_layer(cls), make_x().requires_grad_()
    (gradient,) = torch.autograd.grad(attend(layer, x, LENGTHS)[0].sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="attention has no second derivative"):
        gradient.square().sum().backward()


def test_under_a_mask_there_is_a_second_derivative():
    layer, x = make_layer(AttentionPooling), make_x().requires_grad_()
    mask = torch.arange(TIME) < LENGTHS[:, None]
    (gradient,) = torch.autograd.grad(layer(x, mask=mask)[0].sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad.any()


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(BATCH, TIME + 1, dtype=torch.bool), "mask has shape"),
        (torch.ones(TIME, BATCH, dtype=torch.bool), "mask has shape"),
        (torch.arange(BATCH)[:, None].expand(BATCH, TIME) > 0, "at least one step"),
        (torch.ones(BATCH, TIME, dtype=torch.uint8), "mask is torch.uint8; must be torch.bool, True = real step"),
        (torch.ones(BATCH, TIME, dtype=torch.int64), "mask is torch.int64; must be torch.bool, True = real step"),
        (torch.zeros(BATCH, TIME), "mask is torch.float32; must be torch.bool, True = real step"),
        (torch.arange(TIME).expand(BATCH, TIME) >= torch.arange(1, BATCH + 1)[:, None], "looks inverted.* give ~mask"),
    ],
    ids=["too long", "transposed", "all-masked row", "uint8", "int64", "float", "of padding"],
)
def test_impossible_masks_are_refused(mask, message):
    with pytest.raises(ValueError, match=message):
        make_layer(AttentionPooling)(make_x(), mask=mask)


@pytest.mark.parametrize("longest", [TIME, TIME - 1], ids=["the longest is whole", "cut as the message says"])
def test_sequences_padded_on_the_left_have_their_steps_attended_to(longest):
    layer = make_layer(AttentionPooling)
    x = make_x()
    mask = torch.arange(TIME) >= TIME - torch.arange(longest, longest - BATCH, -1)[:, None]
    keep = mask.any(dim=0)
    context, _ = layer(x[:, keep], mask=mask[:, keep])
    for row in range(BATCH):
        torch.testing.assert_close(context[row], layer(x[row, mask[row]][None])[0][0])


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("mask", "message"), [(torch.arange(3)[:, None] > 0, "at least one step"), (torch.arange(2) > 0, "looks inverted")]
)
def test_a_compiled_graph_refuses_masks_too(mask, message):
    layer = torch.compile(make_layer(AttentionPooling), backend="aot_eager", fullgraph=True)
    x = torch.randn(3, 2, FEATURES, dtype=torch.float64)
    assert layer(x, mask=torch.ones(3, 2, dtype=torch.bool))[0].isfinite().all()
    with pytest.raises(RuntimeError, match=message):
        layer(x, mask=mask.expand(3, 2))


def test_lengths_and_a_mask_together_are_refused():
    with pytest.raises(ValueError, match="not both"):
        make_layer(AttentionPooling)(make_x(), LENGTHS, torch.ones(BATCH, TIME, dtype=torch.bool))


@every_layer
def test_a_sequence_without_steps_is_refused(cls):
    with pytest.raises(ValueError, match="without steps"):
        make_layer(cls)(make_x(time=0))


@every_layer
@pytest.mark.parametrize("option", ["score", "normalizer"])
def test_an_unknown_option_is_refused_with_the_choices(cls, option):
    with pytest.raises(ValueError, match=f"{option}=cubic: must be one of .*, "):
        make_layer(cls, **{option: "cubic"})
