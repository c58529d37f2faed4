"""What holds for any input: hypothesis looks for one for which it does not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from ffattn.config.compose import Loader, without_hydra
from ffattn.config.convert import to_settings
from ffattn.config.schema import Train
from ffattn.nn import FeedForwardAttention
from ffattn.rng.streams import Split, Stream
from ffattn.settings import from_plain, to_plain
from ffattn.tasks import Add, Fixed, Multiply, TemporalOrder2, TemporalOrder3, Variable, Xor

LOADER = Loader("train")
TASKS = [Add, Multiply, Xor, TemporalOrder2, TemporalOrder3]
repeatably = settings(max_examples=40, deadline=None, derandomize=True)


@repeatably
@given(
    lengths=some.lists(some.integers(1, 40), min_size=1, max_size=6),
    features=some.integers(1, 5),
    hidden=some.integers(1, 40),
    normalizer=some.sampled_from(["softmax", "relu2", "mean"]),
    seed=some.integers(0, 2**32),
)
def test_a_sequence_has_the_context_that_it_has_alone(lengths, features, hidden, normalizer, seed):
    """Whatever stands beside it, and in its padding; weights are positive and sum to one, or all are zero."""
    generator = torch.Generator().manual_seed(seed)
    layer = FeedForwardAttention(features, hidden, normalizer=normalizer)
    x = torch.randn(len(lengths), max(lengths) + 3, features, generator=generator)
    for i, length in enumerate(lengths):
        x[i, length:] = float("nan")
    context, weights = layer(x, torch.tensor(lengths), return_weights=True)
    assert (weights >= 0).all()
    total = weights.sum(dim=1)
    assert (total.sub(1).abs().lt(1e-5) | total.eq(0)).all()
    for i, length in enumerate(lengths):
        alone = layer(x[i : i + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(context[i : i + 1], alone, rtol=1e-4, atol=1e-5)
        assert (weights[i, length:] == 0).all()


@repeatably
@given(
    seed=some.integers(0, 2**32),
    order=some.permutations(range(12)),
    time=some.integers(1, 30),
)
def test_attention_does_not_know_the_order_of_steps(seed, order, time):
    layer = FeedForwardAttention(2, 7)
    x = torch.randn(1, 12, 2, generator=torch.Generator().manual_seed(seed)).repeat(1, time, 1)
    shuffled = x.view(time, 12, 2)[:, list(order)].reshape(1, -1, 2)
    torch.testing.assert_close(layer(x), layer(shuffled), rtol=1e-4, atol=1e-5)


@repeatably
@given(
    task=some.sampled_from(TASKS),
    seed=some.integers(0, 2**63 - 1),
    numbers=some.lists(some.integers(0, 2**40), min_size=1, max_size=5),
    longest=some.integers(11, 60),
    variable=some.booleans(),
)
def test_a_sequence_is_a_function_of_its_number(task, seed, numbers, longest, variable):
    """Not of what else is in its batch; what is in it is in the task's range, and padding is zero."""
    task = task(length=Variable(min=11, T=longest) if variable else Fixed(T=longest))
    stream = Stream(seed, Split.TRAIN)
    x, lengths, y, *_ = task.training_batch(stream, 0, torch.tensor(numbers))
    for i, number in enumerate(numbers):
        one_x, one_length, one_y, *_ = task.training_batch(stream, 0, torch.tensor([number]))
        length = int(lengths[i])
        assert 11 <= length <= longest
        assert length == int(one_length[0])
        assert torch.equal(x[i, :length], one_x[0, :length])
        assert torch.equal(y[i], one_y[0])
        assert (x[i, length:] == 0).all()
    assert x.isfinite().all()
    assert x.abs().max() <= 1


@repeatably
@given(
    T=some.integers(-5, 10**10),
    seed=some.integers(-3, 2**64),
    lr=some.floats(allow_nan=True, allow_infinity=True),
    hidden=some.integers(-3, 500),
    clip=some.none() | some.floats(-1, 10),
)
def test_what_is_accepted_is_what_was_given(T, seed, lr, hidden, clip):
    """And it survives a checkpoint."""
    clip_text = "null" if clip is None else repr(clip)
    line = [
        f"T={T}",
        f"seed={seed}",
        f"optim.lr={lr!r}",
        f"model.hidden={hidden}",
        f"trainer.gradient_clip={clip_text}",
    ]
    is_right = 11 <= T < 2**31 and 0 <= seed < 2**63 and 0 < lr < float("inf") and hidden >= 1
    is_right &= clip is None or clip > 0
    if not is_right:
        with pytest.raises(ValueError, match=r"^(T|seed|optim\.lr|model\.hidden|trainer\.gradient_clip)="):
            to_settings(without_hydra(LOADER.compose(line)), Train)
        return
    made = to_settings(without_hydra(LOADER.compose(line)), Train)
    assert (made.T, made.seed, made.optim.lr, made.model.hidden) == (T, seed, lr, hidden)
    assert made.trainer.gradient_clip == clip
    assert from_plain(to_plain(made), Train) == made
