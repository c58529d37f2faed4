"""The tasks as the paper and the authors' code define them."""

import itertools
from collections import Counter

import pytest
import torch

from ffattn.errors import SettingError
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Fixed, Multiply, Paper, TemporalOrder2, TemporalOrder3, Variable, Xor

STREAM = Stream(1, Split.VAL)
MARKED = (Add, Multiply, Xor)


def sample(task, count, stream=STREAM):
    return task.training_batch(stream, 0, torch.arange(count))


@pytest.mark.parametrize("cls", MARKED)
@pytest.mark.parametrize("rule", [Fixed, Paper])
def test_markers_are_minus_one_at_the_ends_and_one_at_two_marks(cls, rule):
    batch = sample(cls(length=rule(T=50)), 50)
    for markers, length in zip(batch.x[..., 1].tolist(), batch.lengths.tolist(), strict=True):
        inner = markers[1 : length - 1]
        assert markers[0] == markers[length - 1] == -1
        assert Counter(inner) == {1: 2, 0: length - 4}


def mark_probabilities(length):
    """P(N1, N2) by enumeration of the authors' generator."""
    seconds = range(1, int(length / 2 - 1))
    draws = [(n1, n2 + 1 if n2 == n1 else n2) for n1, n2 in itertools.product(range(1, 10), seconds)]
    return {pair: count / len(draws) for pair, count in Counter(draws).items()}


@pytest.mark.parametrize("cls", MARKED)
@pytest.mark.parametrize("length", [11, 24, 37])
def test_marks_have_the_authors_distribution(cls, length):
    """Pearson's statistic over all pairs, against its mean plus five standard deviations; the seed is fixed."""
    count = 20_000
    seen = Counter(map(tuple, sample(cls(length=Fixed(T=length)), count).relevant_steps.tolist()))
    expected = {pair: count * p for pair, p in mark_probabilities(length).items()}
    assert seen.keys() == expected.keys()
    statistic = sum((seen[pair] - mean) ** 2 / mean for pair, mean in expected.items())
    freedom = len(expected) - 1
    assert statistic < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("cls", MARKED)
def test_the_second_mark_depends_on_the_sequences_own_length(cls):
    """Unlike in the authors' generator, where it depends on the longest possible one."""
    batch = sample(cls(length=Paper(T=100)), 10_000)
    for length in range(100, 110):
        assert batch.relevant_steps[batch.lengths == length, 1].max() == int(length / 2 - 1) - 1


@pytest.mark.parametrize(
    ("cls", "mean", "low", "high"), [(Add, 0, -1, 1), (Multiply, 0.5, 0, 1)], ids=["add", "multiply"]
)
def test_values_fill_their_range_evenly(cls, mean, low, high):
    values = sample(cls(length=Fixed(T=100)), 200).x[..., 0].flatten()
    assert low <= values.min() < low + 1e-3
    assert high - 1e-3 < values.max() < high
    assert values.mean().item() == pytest.approx(mean, abs=4 * (high - low) / (12 * 20_000) ** 0.5)


def test_xors_values_are_bits():
    values = sample(Xor(length=Fixed(T=100)), 200).x[..., 0]
    assert values.unique().tolist() == [0, 1]
    assert values.mean().item() == pytest.approx(0.5, abs=4 * 0.5 / 20_000**0.5)


@pytest.mark.parametrize("cls", [Add, Multiply])
def test_an_answer_exactly_at_the_tolerance_is_not_correct(cls):
    task = cls(tolerance=0.25)
    predictions = torch.tensor([[0.25], [0.75], [0.26], [0.74]])
    assert task.is_correct(predictions, torch.full((4, 1), 0.5)).tolist() == [False, False, True, True]
    assert task.error(predictions[:1], torch.tensor([[0.5]])).tolist() == [0.0625]


@pytest.mark.parametrize("tolerance", [0.0, -0.1, float("nan"), float("inf")])
def test_a_tolerance_must_be_a_positive_number(tolerance):
    with pytest.raises(SettingError, match="tolerance"):
        Add(tolerance=tolerance)


@pytest.mark.parametrize("cls", [Add, Multiply])
def test_no_tolerance_solves_more_than_everything(cls):
    assert cls(tolerance=3.0).baseline().accuracy == 1


@pytest.mark.parametrize(
    ("cls", "T", "windows"),
    [
        (TemporalOrder2, 10, [(1, 2), (5, 6)]),
        (TemporalOrder2, 100, [(10, 20), (50, 60)]),
        (TemporalOrder2, 109, [(10, 21), (54, 65)]),
        (TemporalOrder3, 10, [(1, 2), (3, 4), (6, 7)]),
        (TemporalOrder3, 100, [(10, 20), (33, 43), (66, 76)]),
        (TemporalOrder3, 109, [(10, 21), (35, 46), (71, 82)]),
    ],
)
@pytest.mark.parametrize("rule", [Fixed, Paper])
def test_windows_include_both_ends_and_scale_with_the_nominal_length(cls, T, windows, rule):
    """By hand: p per cent of T, rounded down; under `Paper` too, where the longest sequence is longer than that."""
    batch = sample(cls(length=rule(T=T)), 4000)
    relevant = batch.relevant_steps[batch.lengths == batch.lengths.max()]
    for column, (low, high) in zip(relevant.unbind(1), windows, strict=True):
        assert column.unique().tolist() == list(range(low, high + 1))


def test_windows_scale_with_each_sequences_own_length_where_that_varies():
    task = TemporalOrder2(length=Variable(T=200, min=20, num_lengths=10))
    batch = task.evaluation_batch(STREAM, 4000, torch.arange(4000))
    for length in batch.lengths.unique().tolist():
        first, second = batch.relevant_steps[batch.lengths == length].unbind(1)
        assert first.aminmax() == (length // 10, length // 5)
        assert second.aminmax() == (length // 2, length * 60 // 100)


@pytest.mark.parametrize("cls", [TemporalOrder2, TemporalOrder3])
def test_symbols_are_e_distractors_marks_b(cls):
    batch = sample(cls(length=Paper(T=50)), 200)
    assert cls.feature_names == tuple("XYabcdBE")
    for steps, length, relevant in zip(
        batch.x.tolist(), batch.lengths.tolist(), batch.relevant_steps.tolist(), strict=True
    ):
        assert all(sorted(step) == [0] * 7 + [1] for step in steps[:length])
        symbols = ["XYabcdBE"[step.index(1)] for step in steps[:length]]
        assert (symbols[0], symbols[-1]) == ("E", "B")
        others = {symbol for t, symbol in enumerate(symbols[1:-1], start=1) if t not in relevant}
        assert others <= set("abcd")


@pytest.mark.parametrize(("cls", "classes"), [(TemporalOrder2, 4), (TemporalOrder3, 8), (Xor, 2)])
def test_classes_are_equally_frequent(cls, classes):
    counts = torch.bincount(sample(cls(), 8000).y, minlength=classes)
    expected = 8000 / classes
    assert len(counts) == classes
    assert (counts - expected).abs().max() < 4 * expected**0.5


def test_distractors_are_equally_frequent():
    counts = sample(TemporalOrder2(length=Fixed(T=100)), 200).x.sum(dim=(0, 1))[2:6]
    assert (counts - counts.mean()).abs().max() < 4 * counts.mean() ** 0.5
