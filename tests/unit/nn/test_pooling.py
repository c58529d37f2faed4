"""Several queries, gates and statistics: padding, masks, precisions, gradients, and numbers by hand."""

import pytest
import torch
from torch import nn

from ffattn.nn import AttentionPooling, GatedPooling, MultiHeadPooling, StatisticsPooling

FEATURES, BATCH, TIME = 5, 3, 11
LENGTHS = torch.tensor([11, 1, 6])
LAYERS = {
    "attention": lambda: AttentionPooling(FEATURES),
    "two heads": lambda: MultiHeadPooling(FEATURES, 2),
    "gated": lambda: GatedPooling(FEATURES, 4),
    "statistics": lambda: StatisticsPooling(FEATURES),
    "statistics, equal weights": lambda: StatisticsPooling(FEATURES, normalizer="mean"),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def sequence(dtype=torch.float32):
    return torch.randn(BATCH, TIME, FEATURES, dtype=dtype)


def mask_of(lengths):
    return torch.arange(TIME) < lengths[:, None]


@every_layer
def test_weights_sum_to_one_over_real_steps(make):
    _, weights = make()(sequence(), LENGTHS)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
    assert (weights.masked_select(~mask_of(LENGTHS).view(BATCH, *[1] * (weights.ndim - 2), TIME)) == 0).all()


@every_layer
def test_lengths_and_their_mask_are_the_same(make):
    layer, x = make(), sequence()
    for one, other in zip(layer(x, LENGTHS), layer(x, mask=mask_of(LENGTHS)), strict=True):
        torch.testing.assert_close(one, other)


@every_layer
def test_nothing_in_padding_reaches_anything(make):
    layer, x = make(), sequence()
    dirty = x.masked_fill(~mask_of(LENGTHS)[..., None], torch.nan).requires_grad_()
    clean = x.clone().requires_grad_()
    for one, other in zip(layer(clean, LENGTHS), layer(dirty, LENGTHS), strict=True):
        torch.testing.assert_close(one, other)
    layer(dirty, LENGTHS)[0].square().sum().backward()
    assert dirty.grad.isfinite().all()
    assert (dirty.grad[~mask_of(LENGTHS)] == 0).all()


@every_layer
def test_the_order_of_steps_does_not_matter(make):
    layer, x = make(), sequence()
    torch.testing.assert_close(layer(x)[0], layer(x.flip(1))[0])


@every_layer
def test_real_steps_may_lie_anywhere(make):
    layer, x = make(), sequence()
    mask = torch.zeros(BATCH, TIME, dtype=torch.bool)
    mask[:, [2, 5, 9]] = True
    torch.testing.assert_close(layer(x, mask=mask)[0], layer(x[:, [2, 5, 9]])[0])


@every_layer
def test_an_empty_batch_has_an_empty_answer(make):
    context, weights = make()(torch.zeros(0, TIME, FEATURES))
    assert (len(context), len(weights), weights.shape[-1]) == (0, 0, TIME)


@every_layer
def test_gradients_are_right(make):
    layer, x = make().double(), sequence(torch.float64).requires_grad_()
    mask = mask_of(LENGTHS)
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, mask=mask)[0], (x, *parameters), atol=1e-6)


@every_layer
def test_autocast_gives_what_full_precision_does(make):
    layer, x = make(), sequence()
    with torch.autocast("cpu", torch.bfloat16):
        context, _ = layer(x, LENGTHS)
    torch.testing.assert_close(context.float(), layer(x, LENGTHS)[0], rtol=0.05, atol=0.05)


@every_layer
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": LENGTHS, "mask": mask_of(LENGTHS)}, "not both"),
        ({"mask": torch.zeros(BATCH, TIME, dtype=torch.bool)}, "at least one step"),
        ({"lengths": torch.tensor([0, 1, 2])}, "lengths must be on 1..11"),
    ],
)
def test_what_makes_no_sense_is_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make()(sequence(), **options)


def test_each_head_is_an_attention_of_its_own():
    layer, x = MultiHeadPooling(FEATURES, 3), sequence()
    contexts, weights = layer(x, LENGTHS)
    assert (contexts.shape, weights.shape) == ((BATCH, 3, FEATURES), (BATCH, 3, TIME))
    for place, head in enumerate(layer.heads):
        context, own = head(x, LENGTHS)
        torch.testing.assert_close(contexts[:, place], context)
        torch.testing.assert_close(weights[:, place], own)
    assert not torch.allclose(contexts[:, 0], contexts[:, 1])
    with pytest.raises(ValueError, match="num_heads=0: must be at least 1"):
        MultiHeadPooling(FEATURES, 0)


def test_gates_by_hand():
    layer = GatedPooling(1, 1)
    for parameter, value in zip(layer.parameters(), (1.0, 0.0, 2.0, 0.0, 3.0), strict=True):
        nn.init.constant_(parameter, value)
    x = torch.tensor([[[0.0], [1.0]]])
    score = 3 * torch.tensor(1.0).tanh() * torch.tensor(2.0).sigmoid()
    expected = torch.stack((torch.tensor(0.0), score)).softmax(dim=0)
    context, weights = layer(x)
    torch.testing.assert_close(weights[0], expected)
    torch.testing.assert_close(context[0, 0], expected[1])


def test_statistics_by_hand():
    x = torch.tensor([[[1.0], [3.0], [99.0]]])
    context, weights = StatisticsPooling(1, normalizer="mean")(x, torch.tensor([2]))
    torch.testing.assert_close(context, torch.tensor([[2.0, 1.0]]), atol=1e-5, rtol=0)
    assert weights.tolist() == [[0.5, 0.5, 0]]


def test_a_small_deviation_far_from_zero_is_kept():
    x = 1000 + torch.tensor([0.01, -0.01]).repeat(50)[None, :, None]
    context, _ = StatisticsPooling(1, normalizer="mean")(x)
    assert float(context[0, 1]) == pytest.approx(0.01, rel=0.05)
