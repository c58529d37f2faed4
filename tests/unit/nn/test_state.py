"""Sequences that come in pieces: whatever the cuts, the order and the sharing, the result is that of the whole."""

import copy
import itertools

import pytest
import torch
from helpers import spoil_padding
from hypothesis import given, settings
from hypothesis import strategies as st

from ffattn.choices import NORMALIZERS
from ffattn.models import FFAttention, Mean, Sizes
from ffattn.nn import AttentionPooling, AttentionState, FeedForwardAttention
from tests.pairwise import pairwise

BATCH, TIME, FEATURES, HIDDEN = 3, 29, 2, 5
LENGTHS = torch.tensor([29, 1, 17])
OPTIONS = [
    {"normalizer": "softmax", "score": "tanh"},
    {"normalizer": "softmax", "score": "linear"},
    {"normalizer": "softmax", "length_scale": True},
    {"normalizer": "relu2", "score": "linear"},
    {"normalizer": "mean"},
]
every_layer = pytest.mark.parametrize("cls", [AttentionPooling, FeedForwardAttention])
every_option = pytest.mark.parametrize("options", OPTIONS, ids=str)
every_normalizer = pytest.mark.parametrize("normalizer", NORMALIZERS)
every_network = pytest.mark.parametrize(
    "model",
    [
        FFAttention(hidden=HIDDEN),
        FFAttention(hidden=HIDDEN, normalizer="relu2", score="linear"),
        FFAttention(hidden=HIDDEN, position="fraction", length_scale=True),
        FFAttention(hidden=HIDDEN, position="sinusoid"),
        Mean(hidden=HIDDEN),
        Mean(hidden=HIDDEN, position="fraction"),
        Mean(hidden=HIDDEN, position="sinusoid"),
    ],
    ids=str,
)
some_examples = settings(max_examples=20, deadline=None, derandomize=True, database=None)


def make_layer(cls, **options):
    sizes = (FEATURES, HIDDEN) if cls is FeedForwardAttention else (FEATURES,)
    return cls(*sizes, **options).double()


def make_network(model):
    return model.build(Sizes(FEATURES, 1, is_classification=False)).double()


def make_x():
    return torch.randn(BATCH, TIME, FEATURES, dtype=torch.float64)


def whole(layer, x, lengths=LENGTHS):
    return layer(x, lengths) if isinstance(layer, FeedForwardAttention) else layer(x, lengths)[0]


def cut(x, cuts):
    """Pieces between the cuts, how many steps of each are real, and where they start."""
    edges = [0, *sorted(cuts), x.shape[1]]
    spans = itertools.pairwise(edges)
    return [(x[:, a:b], (LENGTHS - a).clamp(0, b - a), a) for a, b in spans]


def in_pieces(layer, x, cuts, copied=False):
    state = layer.start(LENGTHS)
    for piece, lengths, _ in cut(x, cuts):
        state.update(piece.contiguous() if copied else piece, lengths)
    return state.finish()


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)


cuts_of_time = st.sets(st.integers(1, TIME - 1))


@every_layer
@every_option
@some_examples
@given(data=st.data())
def test_any_cuts_in_any_order_shared_in_any_way_give_the_whole(cls, options, data):
    layer, x = make_layer(cls, **options), make_x()
    pieces = data.draw(st.permutations(cut(x, data.draw(cuts_of_time))))
    states = [layer.start(LENGTHS) for _ in range(3)]
    for piece, lengths, _ in pieces:
        states[data.draw(st.integers(0, 2))].update(piece, lengths)
    first, *others = data.draw(st.permutations(states))
    for other in others:
        first.merge(other)
    assert_close(first.finish(), whole(layer, x))


@every_layer
@every_option
@pytest.mark.parametrize(
    ("dtype", "copied"),
    [
        (torch.float32, False),
        (torch.bfloat16, True),
        pytest.param(torch.bfloat16, False, marks=pytest.mark.slow),  # pieces with gaps have a kernel of their own
    ],
)
def test_pieces_in_other_precisions(cls, options, dtype, copied):
    layer, x = make_layer(cls, **options).float(), make_x().to(dtype)
    context, expected = in_pieces(layer, x, (3, 11, 12), copied), whole(layer, x)
    assert context.dtype == expected.dtype == dtype
    torch.testing.assert_close(context, expected)


@every_layer
@every_option
def test_gradients_through_a_state_are_those_of_the_whole(cls, options):
    layer, x = make_layer(cls, **options), make_x().requires_grad_()
    inputs = [x, *layer.parameters()]
    actual, expected = (
        torch.autograd.grad(context.square().sum(), inputs)
        for context in (in_pieces(layer, x, (2, 20)), whole(layer, x))
    )
    assert_close(actual, expected)


@every_layer
@every_option
def test_garbage_behind_the_end_of_a_sequence_is_not_seen(cls, options):
    layer, x = make_layer(cls, **options), make_x()
    assert torch.equal(in_pieces(layer, spoil_padding(x, LENGTHS), (3, 11)), in_pieces(layer, x, (3, 11)))


@every_layer
@every_normalizer
def test_without_lengths_every_step_of_a_piece_counts(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer), make_x()
    state = layer.start().update(x[:, :4]).update(x[:, 4:])
    assert_close(state.finish(), whole(layer, x, None))


@every_layer
@every_normalizer
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_piece_without_steps_changes_nothing(cls, normalizer, dtype):
    layer, x = make_layer(cls, normalizer=normalizer).to(dtype), make_x().to(dtype)
    state = layer.start().update(x[:, :0]).update(x).update(x[:, :0])
    torch.testing.assert_close(state.finish(), whole(layer, x, None))


@every_layer
def test_more_may_follow_a_result(cls):
    layer, x = make_layer(cls), make_x()
    state = layer.start().update(x[:, :4])
    assert_close(state.finish(), whole(layer, x[:, :4], None))
    assert_close(state.update(x[:, 4:]).finish(), whole(layer, x, None))


@every_layer
def test_length_scale_needs_the_whole_lengths(cls):
    with pytest.raises(ValueError, match=r"length_scale.*declare the whole lengths, start\(lengths\)"):
        make_layer(cls, length_scale=True).start()


@every_layer
@pytest.mark.parametrize("normalizer", ["relu2", "mean"])
def test_length_scale_of_other_normalizers_needs_none(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer, length_scale=True), make_x()
    assert_close(layer.start().update(x).finish(), whole(layer, x, None))


@pytest.mark.usefixtures("without_shape_checks")
@pairwise(
    cls=[AttentionPooling, FeedForwardAttention],
    lengths=[[29], [29, 1], [29, 1, 17, 3], [[29], [1], [17]]],
    dtype=[torch.float64, torch.float32],
)
def test_whole_lengths_of_other_batches_are_refused(cls, lengths, dtype):
    layer, x = make_layer(cls, length_scale=True).to(dtype), make_x().to(dtype)
    with pytest.raises(ValueError, match=r"lengths|scale"):
        layer.start(torch.tensor(lengths)).update(x)


@pytest.mark.usefixtures("without_shape_checks")
@every_layer
@pytest.mark.parametrize("lengths", [[5, 1, 4], [-1, 1, 4], [4, 4], [[4], [4], [4]]], ids=str)
def test_impossible_lengths_of_a_piece_are_refused(cls, lengths):
    layer, x = make_layer(cls), make_x()
    with pytest.raises(ValueError, match="lengths"):
        layer.start().update(x[:, :4], torch.tensor(lengths))


@every_layer
@every_normalizer
def test_a_state_that_has_seen_nothing_has_no_context(cls, normalizer):
    state = make_layer(cls, normalizer=normalizer).start()
    for ask in (state.finish, lambda: state.pooled, state.merge(make_layer(cls).start()).finish):
        with pytest.raises(ValueError, match="nothing was seen"):
            ask()


@every_layer
@pytest.mark.parametrize("normalizer", ["softmax", "mean"])
def test_a_sequence_that_was_never_seen_has_no_context(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer), make_x()
    state = layer.start().update(x[:, :4], torch.tensor([4, 0, 2]))
    with pytest.raises(ValueError, match="a sequence without steps has no context"):
        state.finish()
    assert_close(state.update(x[:, :4]).finish()[1], whole(layer, x[:, :4], None)[1])


@every_layer
def test_a_relu2_without_a_positive_score_has_a_zero_context(cls):
    layer = make_layer(cls, normalizer="relu2")
    torch.nn.init.zeros_(layer.query.weight)
    torch.nn.init.constant_(layer.query.bias, -0.5)
    assert not layer.start().update(make_x()).finish().any()


@every_layer
@every_normalizer
def test_another_number_of_sequences_is_refused(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer), make_x()
    state = layer.start().update(x)
    for add in (lambda: state.update(x[:2]), lambda: state.merge(layer.start().update(x[:2]))):
        with pytest.raises(ValueError, match="a piece of 2 sequences after one of 3"):
            add()
    assert_close(state.finish(), whole(layer, x, None))


@every_layer
def test_merging_leaves_the_other_state_as_it_was(cls):
    layer, x = make_layer(cls), make_x()
    state, other = layer.start().update(x[:, :4]), layer.start().update(x[:, 4:])
    before = other.finish()
    assert state.merge(other) is state
    assert torch.equal(other.finish(), before)
    assert_close(layer.start().merge(other).finish(), before)
    assert_close(state.merge(layer.start()).finish(), whole(layer, x, None))


@every_layer
@every_option
def test_a_copy_goes_on_by_itself_and_passes_gradients_on(cls, options):
    layer, x = make_layer(cls, **options), make_x()
    state, same = (layer.start(LENGTHS).update(x[:, :10], LENGTHS.clamp(max=10)) for _ in range(2))
    copied = copy.copy(state).update(x[:, 10:], (LENGTHS - 10).clamp(min=0))
    torch.testing.assert_close(copied.finish(), whole(layer, x))
    torch.testing.assert_close(state.finish(), same.finish(), rtol=0, atol=0)
    parameters = list(layer.parameters())
    if parameters:
        found, expected = (torch.autograd.grad(c.sum(), parameters) for c in (copied.finish(), whole(layer, x)))
        torch.testing.assert_close(found, expected)


@every_layer
def test_a_deep_copy_has_a_layer_of_its_own(cls):
    layer, x = make_layer(cls), make_x()
    with torch.no_grad():
        state = layer.start().update(x[:, :10])
    copied, again = copy.deepcopy([state, state])
    assert copied is again
    assert copied.layer is not layer
    torch.testing.assert_close(copied.update(x[:, 10:]).finish(), whole(layer, x, None))
    torch.testing.assert_close(state.finish(), whole(layer, x[:, :10], None))


@every_layer
def test_a_deep_copy_is_refused_where_gradients_would_pass(cls):
    state = make_layer(cls).start().update(make_x())
    with pytest.raises(ValueError, match=r"^a state with gradients has no deep copy: use copy\.copy, or .*no_grad$"):
        copy.deepcopy(state)
    copy.deepcopy(make_layer(cls).start())  # one that has seen nothing


def test_a_copy_of_an_answer_goes_on_by_itself():
    network, x = make_network(FFAttention(hidden=HIDDEN, position="sinusoid")), make_x()
    state = network.start().update(x[:, :10])
    copied = copy.copy(state).update(x[:, 10:])
    lengths = torch.full((BATCH,), TIME)
    torch.testing.assert_close(copied.finish(), network(x, lengths).prediction)
    torch.testing.assert_close(state.finish(), network(x[:, :10], lengths.clamp(max=10)).prediction)
    torch.testing.assert_close(state.update(x[:, 10:]).finish(), copied.finish())


@every_layer
@pytest.mark.parametrize("normalizer", ["softmax", "relu2"])
def test_jitter_is_drawn_once(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer, score="linear", score_jitter=5.0), make_x()
    torch.manual_seed(1)
    expected = whole(layer, x)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    assert_close(in_pieces(layer, x, (1, 4, 9)), expected)
    assert torch.equal(torch.get_rng_state(), after)


@every_layer
def test_no_jitter_is_drawn_in_evaluation(cls):
    layer, x = make_layer(cls, normalizer="relu2", score_jitter=5.0).eval(), make_x()
    before = torch.get_rng_state()
    assert_close(in_pieces(layer, x, (1, 4, 9)), whole(layer, x))
    assert torch.equal(torch.get_rng_state(), before)


@every_layer
@every_normalizer
@torch.no_grad()
def test_memory_does_not_grow_with_the_steps_seen(cls, normalizer):
    layer, x = make_layer(cls, normalizer=normalizer).float(), make_x().float()
    state = layer.start()
    for pieces in (1, 10):
        for _ in range(pieces):
            state.update(x)
        assert [part.shape for part in state.pooled] == [(BATCH,), (BATCH,), (BATCH, layer.hidden)]
        assert {part.dtype for part in state.pooled} == {torch.float64}
        assert {part.untyped_storage().nbytes() for part in state.pooled} == {8 * BATCH, 8 * BATCH * layer.hidden}
    torch.testing.assert_close(state.finish(), whole(layer, x, None))


def test_a_layer_starts_a_state():
    assert isinstance(AttentionPooling(FEATURES).start(), AttentionState)


def answer_in_pieces(network, x, pieces):
    state = network.start(LENGTHS)
    for piece, lengths, start in pieces:
        state.update(piece, lengths, start)
    return state.finish()


@every_network
@some_examples
@given(data=st.data())
def test_a_network_answers_any_pieces_as_it_answers_the_whole(model, data):
    network, x = make_network(model), make_x()
    pieces = data.draw(st.permutations(cut(x, data.draw(cuts_of_time))))
    states = [network.start(LENGTHS) for _ in range(2)]
    for piece, lengths, start in pieces:
        states[data.draw(st.integers(0, 1))].update(piece, lengths, start=start)
    assert_close(states[0].merge(states[1]).finish(), network(x, LENGTHS).prediction)


@every_network
def test_pieces_follow_each_other_where_nothing_else_is_said(model):
    network, x = make_network(model), make_x()
    lengths = torch.full((BATCH,), TIME)
    state = network.start(lengths).update(x[:, 20:], start=20).update(x[:, :3], start=0).update(x[:, 3:7])
    assert_close(state.update(x[:, 7:20]).finish(), network(x, lengths).prediction)


@pytest.mark.parametrize("model", [FFAttention(position="sinusoid"), Mean(), FFAttention()], ids=str)
def test_lengths_are_declared_only_where_needed(model):
    network, x = make_network(model), make_x()
    assert_close(network.start().update(x).finish(), network(x, torch.full((BATCH,), TIME)).prediction)


@pytest.mark.parametrize("model", [FFAttention(position="fraction"), Mean(position="fraction")], ids=str)
def test_fractions_need_the_whole_lengths(model):
    with pytest.raises(ValueError, match=r"position=fraction.*declare the whole lengths, start\(lengths\)"):
        make_network(model).start().update(make_x())


def test_a_networks_length_scale_needs_the_whole_lengths():
    with pytest.raises(ValueError, match=r"length_scale.*declare the whole lengths"):
        make_network(FFAttention(length_scale=True)).start()


def test_logits_pass_through_a_state_unchanged():
    network = FFAttention().build(Sizes(FEATURES, 4, is_classification=True)).double()
    x = make_x()
    assert_close(answer_in_pieces(network, x, cut(x, (5, 6))), network(x, LENGTHS).prediction)


def test_a_network_that_has_seen_nothing_has_no_answer():
    with pytest.raises(ValueError, match="nothing was seen"):
        make_network(FFAttention()).start().finish()


def test_gradients_through_an_answer_are_those_of_the_whole():
    network, x = make_network(FFAttention(hidden=HIDDEN, position="fraction")), make_x()
    parameters = list(network.parameters())
    answers = answer_in_pieces(network, x, cut(x, (2, 20))), network(x, LENGTHS).prediction
    actual, expected = (torch.autograd.grad(answer.sum(), parameters) for answer in answers)
    assert_close(actual, expected)
