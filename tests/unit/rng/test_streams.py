import dataclasses
import itertools
import random

import philox_twin as twin
import pytest
import torch

from ffattn.rng.reference import philox
from ffattn.rng.streams import BatchWindow, Grid, Split, Stream

ONES = 2**32 - 1
WORDS = "counter", "key", "expected"


def make_window(seed=3, split=Split.TRAIN, sequences=range(5), start=0, stop=23):
    numbers = torch.tensor(list(sequences), dtype=torch.int64)
    lengths = torch.full_like(numbers, stop)
    return BatchWindow(Stream(seed, split), numbers, lengths, lengths, start, stop)


def uniform(window, field=0):
    """Random numbers on [0, 1), (batch, time)."""
    return window.values(field, Grid())[..., 0]


def random_addresses(count):
    """Seeds, splits, sequences, steps and fields; every other one is beyond 32 bits."""
    rng = random.Random(0)
    for i in range(count):
        big = i % 2
        seed, sequence = (rng.randrange(2**63 if big else 2**32) for _ in range(2))
        step = rng.randrange(2**34, 2**50) if big else rng.randrange(2**20)
        yield twin.Address(seed, rng.choice(list(Split)), sequence, step, rng.randrange(256))


def chi_square_is_plausible(observed, expected):
    """Pearson's statistic within five standard deviations of its mean; the seeds are fixed, so this cannot flicker."""
    freedom = len(expected) - 1
    statistic = ((observed - expected).square() / expected).sum()
    return abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(WORDS, twin.KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, expected):
    parse = [[int(word, 16) for word in words.split()] for words in (counter, key, expected)]
    result = philox(tuple(torch.tensor([word]) for word in parse[0]), tuple(parse[1]))
    assert [int(word) for word in result] == parse[2]


@pytest.mark.parametrize(WORDS, twin.KNOWN_ANSWERS)
def test_the_twin_gives_the_published_answers(counter, key, expected):
    parse = [[int(word, 16) for word in words.split()] for words in (counter, key, expected)]
    assert list(twin.philox(parse[0], parse[1])) == parse[2]


@pytest.mark.parametrize("address", list(random_addresses(24)), ids=str)
def test_every_number_is_the_twins(address):
    seed, split, sequence, step, field = address
    window = make_window(seed, split, [sequence], start=step, stop=step + 7)
    addresses = [address._replace(step=t) for t in range(step, step + 7)]
    assert window.values(field, Grid())[0, :, 0].tolist() == [twin.uniform(a) for a in addresses]
    assert window.values(field, Grid(0, 7, levels=7))[0, :, 0].tolist() == [twin.choice(a, 7) for a in addresses]
    assert window.symbols(field, range(2, 5), 6)[0].argmax(dim=1).tolist() == [2 + twin.choice(a, 3) for a in addresses]
    assert window.integers(field, -3, 10**9).item() == twin.integer(address, -3, 10**9)


@pytest.mark.parametrize(("start", "stop"), [(0, 23), (0, 1), (3, 4), (4, 8), (5, 17), (7, 19), (22, 23), (6, 6)])
def test_a_window_is_a_slice_of_the_whole(start, stop):
    whole, window = make_window(), make_window(start=start, stop=stop)
    assert torch.equal(uniform(window, 1), uniform(whole, 1)[:, start:stop])
    assert torch.equal(window.symbols(1, range(5), 5), whole.symbols(1, range(5), 5)[:, start:stop])


def test_windows_of_a_prime_width_make_up_the_whole():
    whole = make_window(stop=101)
    windows = [uniform(make_window(start=start, stop=min(start + 13, 101))) for start in range(0, 101, 13)]
    assert torch.equal(torch.cat(windows, dim=1), uniform(whole))


def test_the_number_at_a_step_is_the_windows_inside_it_and_outside():
    whole = make_window()
    window = dataclasses.replace(whole, start=9, stop=11)
    steps = torch.tensor([[0, 3], [10, 9], [22, 0], [3, 4], [7, 1]])
    assert torch.equal(window.values_at(2, Grid(-1), steps), whole.values(2, Grid(-1))[..., 0].gather(1, steps))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"seed": 0}, {"seed": 1}),
        ({"seed": 5}, {"seed": 5 + 2**32}),
        ({"sequences": [7]}, {"sequences": [7 + 2**32]}),
        ({"start": 0, "stop": 8}, {"start": 2**34, "stop": 2**34 + 8}),
        *(({"split": a}, {"split": b}) for a, b in itertools.combinations(Split, 2)),
    ],
)
def test_different_addresses_share_no_number(one, other):
    assert not (uniform(make_window(**one)) == uniform(make_window(**other))).any()


def test_fields_and_sequences_share_no_number():
    window = make_window(sequences=range(4), stop=16)
    numbers = torch.cat([uniform(window, field).flatten() for field in range(4)])
    assert len(numbers.unique()) == 4 * 4 * 16


def test_the_order_and_the_company_of_sequences_do_not_matter():
    together, alone = make_window(sequences=[11, 2, 7]), make_window(sequences=[7])
    assert torch.equal(uniform(together)[2:], uniform(alone))
    assert torch.equal(together.integers(0, 1, 99)[2:], alone.integers(0, 1, 99))


def test_uniform_numbers_are_float32_and_spread_evenly():
    numbers = uniform(make_window(sequences=range(100), stop=200))
    assert numbers.dtype == torch.float32
    assert chi_square_is_plausible(numbers.flatten().histc(50, 0, 1), torch.full((50,), 400.0))


def test_integers_reach_both_bounds_and_are_uniform():
    numbers = Stream(0, Split.VAL).integers(torch.arange(20_000), -2, 10, field=0)
    counts = torch.bincount(numbers + 2, minlength=13)
    assert numbers.aminmax() == (-2, 10)
    assert chi_square_is_plausible(counts, torch.full((13,), 20_000 / 13))


def test_each_sequence_may_have_its_own_bounds():
    low, high = torch.tensor([0, 5, -4] * 500), torch.tensor([1, 5, 40] * 500)
    numbers = Stream(0, Split.VAL).integers(torch.arange(1500), low, high, field=0).reshape(500, 3)
    assert numbers.amin(dim=0).tolist() == [0, 5, -4]
    assert numbers.amax(dim=0).tolist() == [1, 5, 40]


@pytest.mark.parametrize(("word", "fraction", "place"), [(0, 0.0, 0), (ONES, 1 - 2**-24, -1)])
def test_extreme_words_stay_in_range(monkeypatch, word, fraction, place):
    """The largest count of integers is 2^31: one more bit would overflow int64."""
    monkeypatch.setattr("ffattn.rng.philox.compiled", lambda package, device: None)
    monkeypatch.setattr("ffattn.rng.reference.philox", lambda counter, key: (torch.full_like(counter[0], word),) * 4)
    window = make_window(sequences=[0], stop=4)
    assert uniform(window).unique().tolist() == [fraction]
    assert window.values(0, Grid(0, 7, levels=7)).unique().tolist() == [(0, 6)[place]]
    assert window.symbols(0, range(1, 7), 9).argmax(dim=2).unique().tolist() == [(1, 6)[place]]
    assert window.integers(0, 7, 7 + 2**31 - 1).tolist() == [(7, 7 + 2**31 - 1)[place]]


@pytest.mark.parametrize("field", [-1, 256])
def test_a_field_that_would_run_into_the_split_is_a_programmers_mistake(field):
    with pytest.raises(AssertionError):
        uniform(make_window(), field)


@pytest.mark.parametrize("features", [1, 3])
def test_values_are_feature_0_before_the_end_of_a_sequence(features):
    window = BatchWindow(Stream(0, Split.TEST), torch.arange(2), torch.tensor([6, 4]), torch.tensor([6, 4]), 3, 7)
    x = window.values(0, Grid(5, 9), features)
    assert (x.shape, x.dtype) == ((2, 4, features), torch.float32)
    assert (x[..., 0] >= 5).tolist() == [[True, True, True, False], [True, False, False, False]]
    assert (x != 0).sum() == 4


def test_symbols_are_one_hot_before_the_end_of_a_sequence():
    window = BatchWindow(Stream(0, Split.TEST), torch.arange(2), torch.tensor([6, 4]), torch.tensor([6, 4]), 3, 7)
    x = window.symbols(0, range(1, 3), 4)
    assert x.sum(dim=2).tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert not x[..., [0, 3]].any()


@pytest.mark.parametrize("start", [0, 3, 6, 99])
def test_steps_outside_the_window_are_left_out(start):
    steps, values = torch.tensor([[0, 4, 9], [7, 3, 5]]), torch.tensor([[10.0, 20, 30], [40, 50, 60]])
    whole = torch.arange(20.0).reshape(2, 10)
    expected, x = whole.scatter(1, steps, values), whole[:, start : start + 4].clone()
    window = make_window(sequences=range(2), start=start, stop=start + x.shape[1])
    window.set_steps(x[..., None], steps, values[..., None])
    assert torch.equal(x, expected[:, start : start + 4])


def test_steps_of_a_view_are_set_nowhere_else():
    x = torch.zeros(2, 3, 2)
    make_window(sequences=range(2), stop=3).set_steps(x[..., 1:], torch.tensor([[1], [2]]), torch.tensor(-1))
    assert x.tolist() == [[[0, 0], [0, -1], [0, 0]], [[0, 0], [0, 0], [0, -1]]]


def test_a_step_of_several_features_is_set_as_a_whole():
    x = torch.ones(1, 3, 2)
    make_window(sequences=range(1), stop=3).set_steps(x, torch.tensor([[2, 0]]), torch.tensor([[[0, 5], [7, 0]]]))
    assert x.tolist() == [[[7, 0], [1, 1], [0, 5]]]


@pytest.mark.parametrize(("count", "stop"), [(0, 5), (3, 0)])
def test_no_sequences_or_no_steps_are_an_empty_tensor(count, stop):
    window = make_window(sequences=range(count), stop=stop)
    assert window.values(0, Grid(), 3).shape == window.symbols(0, range(2), 3).shape == (count, stop, 3)
