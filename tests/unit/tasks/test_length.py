import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
import torch

from ffattn.errors import SettingError
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Fixed, Paper, Variable
from ffattn.tasks.length import MAX_T

STREAM = Stream(2, Split.TRAIN)


def training(length, count, batch=0):
    return length.training(STREAM, batch, torch.arange(count))


def evaluation(length, total):
    return length.evaluation(STREAM, total, torch.arange(total)).tolist()


def batch_lengths(length, count):
    """The lengths of the first training batches."""
    return [training(length, 1, batch).item() for batch in range(count)]


def test_fixed_is_exactly_t():
    assert set(training(Fixed(T=37), 100).tolist()) == {37}


@pytest.mark.parametrize(("T", "lengths"), [(1, [1]), (10, [10]), (11, [11, 12]), (50, [50, 51, 52, 53, 54])])
def test_the_papers_lengths_in_small(T, lengths):
    """11: 12.1 rounded up, less one. 50: 1.1 * 50 is more than 55 in floating point, so 55 would be wrong."""
    assert training(Paper(T=T), 1000).unique().tolist() == lengths


@pytest.mark.parametrize("T", [50, 53, 100, 500, 1000, 5000, 10_000, MAX_T])
def test_the_papers_longest_sequence(T):
    assert Paper(T=T).longest == math.ceil(Fraction(11, 10) * T) - 1


def test_the_papers_lengths_are_equally_frequent():
    counts = Counter(training(Paper(T=50), 10_000).tolist())
    assert all(abs(count - 2000) < 4 * 2000**0.5 for count in counts.values())


def test_attending_to_padding_changes_the_visible_lengths_alone():
    plain, attending = (Add(length=Paper(T=50, attend_to_padding=attend)) for attend in (False, True))
    for make in ("training_batch", "evaluation_batch"):
        true, told = (getattr(task, make)(STREAM, 64, torch.arange(64)) for task in (plain, attending))
        assert all(torch.equal(getattr(true, name), getattr(told, name)) for name in ("x", "y", "relevant_steps"))
        assert set(told.lengths.tolist()) == {true.x.shape[1]} == {54}
        assert set(true.lengths.tolist()) == {50, 51, 52, 53, 54}


@pytest.mark.parametrize("rule", [Fixed(T=50), Paper(T=50)])
def test_fixed_padding_and_nominal_length(rule):
    lengths = torch.tensor([50, 50])
    assert rule.padded(lengths) == rule.longest
    assert rule.nominal(lengths).tolist() == [50, 50]


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_a_training_batch_has_one_length_and_the_next_another(distribution):
    rule = Variable(T=10_000, distribution=distribution)
    batches = [training(rule, 5, batch) for batch in range(20)]
    assert all(len(lengths.unique()) == 1 for lengths in batches)
    assert len({lengths[0].item() for lengths in batches}) == 20


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
def test_training_reaches_the_smallest_and_the_largest_length(distribution):
    assert set(batch_lengths(Variable(T=9, min=5, distribution=distribution), 200)) == {5, 6, 7, 8, 9}


def test_uniform_lengths_are_equally_frequent():
    counts = Counter(batch_lengths(Variable(T=14, min=5), 1000))
    assert all(abs(count - 100) < 4 * 10 for count in counts.values())


def test_log_uniform_lengths_give_every_factor_of_two_its_share():
    lengths = batch_lengths(Variable(T=2**13 - 1, min=2**5, distribution="log_uniform"), 1600)
    counts = Counter(length.bit_length() for length in lengths)
    assert counts.keys() == set(range(6, 14))
    assert all(abs(count - 200) < 4 * 200**0.5 for count in counts.values())


def test_the_papers_evaluation_grid():
    """100 evenly spaced lengths on 50..10000, rounded down, ten sequences each."""
    lengths = evaluation(Variable(T=10_000, min=50), 1000)
    grid = [math.floor(50 + Fraction(9950 * i, 99)) for i in range(100)]
    assert lengths == [length for length in grid for _ in range(10)]
    assert (lengths[0], lengths[-1]) == (50, 10_000)


def test_the_logarithmic_grid_has_equal_ratios_between_the_bounds():
    lengths = evaluation(Variable(T=50_000, min=50, num_lengths=7, distribution="log_uniform"), 7)
    assert (lengths[0], lengths[-1]) == (50, 50_000)
    ratios = [b / a for a, b in itertools.pairwise(lengths)]
    assert ratios == pytest.approx([1000 ** (1 / 6)] * 6, rel=0.02)


@pytest.mark.parametrize("distribution", ["uniform", "log_uniform"])
@pytest.mark.parametrize(("total", "num_lengths"), [(2, 100), (7, 100), (1000, 13), (3, 2)])
def test_any_grid_is_sorted_and_ends_at_both_bounds(distribution, total, num_lengths):
    lengths = evaluation(Variable(T=300, min=20, num_lengths=num_lengths, distribution=distribution), total)
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (20, 300)
    assert len(set(lengths)) == min(total, num_lengths)


def test_a_single_evaluation_sequence_has_a_length_in_range():
    assert evaluation(Variable(T=300, min=20), 1) == [20]


def test_a_variable_batch_is_padded_to_its_longest_sequence():
    rule, lengths = Variable(T=300, min=20), torch.tensor([31, 47, 20])
    assert rule.padded(lengths) == 47
    assert rule.nominal(lengths) is lengths


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Fixed(T=0), "T"),
        (lambda: Paper(T=MAX_T + 1), "T"),
        (lambda: Variable(T=40, min=50), "min"),
        (lambda: Variable(min=0), "min"),
        (lambda: Variable(num_lengths=0), "num_lengths"),
        (lambda: Variable(distribution="normal"), "distribution"),
    ],
)
def test_impossible_lengths_are_refused(make, key):
    with pytest.raises(SettingError) as caught:
        make()
    assert caught.value.key == key
