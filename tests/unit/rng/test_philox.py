"""Every implementation of the random numbers against the twin in Python's own integers: the same bits."""

import importlib
from concurrent.futures import ThreadPoolExecutor

import philox_twin as twin
import pytest
import torch

from ffattn import rng
from ffattn.rng import Address, Choice, reference

COMPILERS = {"reference": "torch", "cpu": "numba", "triton": "triton"}
SEED, QUANTITY = 2**63 - 25, 0x02FE
ROWS = [(0, 0), (7, 3), (2**40 + 5, 2**34 + 1), (2**63 - 1, 2**50 - 2000)]  # sequence and first step


@pytest.fixture(params=COMPILERS)
def twins(request):
    """An implementation."""
    pytest.importorskip(COMPILERS[request.param])
    is_on_gpu = request.param == "triton" and torch.cuda.is_available()
    with torch.device("cuda" if is_on_gpu else "cpu"):  # where the tests make their tensors
        yield importlib.import_module(f"ffattn.rng.{request.param}")


def expected_words(time, rows=ROWS):
    addresses = [twin.Address(SEED, QUANTITY >> 8, sequence, start, QUANTITY & 255) for sequence, start in rows]
    return [[twin.words(a._replace(step=a.step + t))[(a.step + t) % 4] for t in range(time)] for a in addresses]


def address_of(rows=ROWS):
    sequences, starts = (torch.tensor(column) for column in zip(*rows, strict=True))
    return Address(sequences, starts, QUANTITY, SEED)


@pytest.mark.parametrize(("counter", "key", "expected"), twin.KNOWN_ANSWERS[::2])  # the other's seed is too large
def test_published_answers(twins, counter, key, expected):
    c0, c1, c2, c3, k0, k1 = (int(word, 16) for word in f"{counter} {key}".split())
    out, sequence = torch.empty(1, 4, dtype=torch.int64), torch.tensor([c3 << 32 | c2])
    start = torch.tensor([4 * ((c1 & 0xFFFF) << 32 | c0)])
    twins.fill_words(out, Address(sequence, start, c1 >> 16, k1 << 32 | k0))
    assert out[0].tolist() == [int(word, 16) for word in expected.split()]


@pytest.mark.parametrize("time", [1, 2, 4, 5, 31, 1027])
def test_words_are_the_twins(twins, time):
    out = torch.full((len(ROWS), time), -1)
    twins.fill_words(out, address_of())
    assert out.tolist() == expected_words(time)


@pytest.mark.parametrize("time", [1, 9, 1027])
@pytest.mark.parametrize("start", range(5))
def test_a_fine_grid_has_the_top_24_bits(twins, time, start):
    rows = [(sequence, start) for sequence, _ in ROWS]
    out = torch.full((len(ROWS), time, 1), torch.nan)
    stops = torch.full((len(ROWS),), start + time)
    twins.fill_inputs(out, stops, address_of(rows), Choice(2**24, 0, -1.0, 2.0**-23))
    assert out[..., 0].tolist() == [[(word >> 8) / 2**23 - 1 for word in row] for row in expected_words(time, rows)]


@pytest.mark.parametrize("choice", [Choice(3, 0, 5.0, 2.0), Choice(3, 1, 5.0, 2.0), Choice(3, 1, 0.0, 0.0)], ids=str)
@pytest.mark.parametrize("time", [1, 30, 1100])
def test_a_choice_is_written_before_the_end_and_zeros_elsewhere(twins, choice, time):
    lengths = [0, time, time // 2, time + 9]
    out = torch.full((len(ROWS), time, 4), torch.nan)
    stops = torch.tensor([start + length for (_, start), length in zip(ROWS, lengths, strict=True)])
    twins.fill_inputs(out, stops, address_of(), choice)
    expected = torch.zeros(out.shape)
    for row, words in enumerate(expected_words(time)):
        for t, word in enumerate(words[: lengths[row]]):
            which = 3 * word >> 32
            if choice.step:
                expected[row, t, choice.feature] = choice.low + choice.step * which
            else:
                expected[row, t, choice.feature + which] = 1
    assert torch.equal(out, expected)


def test_columns_of_any_strides_are_read(twins):
    address = address_of()
    sequences, starts = (torch.stack((column, -column), dim=1)[:, 0] for column in address[:2])
    out = torch.empty(len(ROWS), 3, dtype=torch.int64)
    twins.fill_words(out, address._replace(sequences=sequences, starts=starts))
    assert out.tolist() == expected_words(3)


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_nothing_is_filled_with_nothing(shape):
    sequences = torch.arange(shape[0])
    address = Address(sequences, sequences, QUANTITY, SEED)
    rng.fill_words(torch.empty(shape, dtype=torch.int64), address)
    rng.fill_inputs(torch.empty(*shape, 2), sequences, address, Choice(2, 0, 0.0, 1.0))


def many(seed=SEED, filler=rng):
    """As many numbers as several threads share."""
    out, stops = torch.empty(70, 2_000, 2), torch.arange(1_900, 1_970)
    address = Address(torch.arange(70), torch.arange(70) % 5, QUANTITY, seed)
    filler.fill_inputs(out, stops, address, Choice(2**24, 0, 0.0, 2.0**-24))
    return out


def test_threads_change_no_bit():
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(many())
    torch.set_num_threads(before)
    expected = many(filler=reference)
    assert all(torch.equal(numbers, expected) for numbers in found)


def test_callers_in_several_threads_do_not_disturb_each_other():
    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(many, range(8)))
    assert all(torch.equal(out, many(seed)) for seed, out in enumerate(together))
