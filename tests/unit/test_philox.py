"""Every implementation of the random numbers against the twin in Python's own integers: the same bits."""

import importlib
from concurrent.futures import ThreadPoolExecutor

import philox_twin as twin
import pytest
import torch

from ffattn import philox
from ffattn.philox import reference

COMPILERS = {"reference": "torch", "cpu": "numba", "triton": "triton"}
SEED, ADDRESS = 2**63 - 25, 0x02FE
ROWS = [(0, 0), (7, 3), (2**40 + 5, 2**34 + 1), (2**63 - 1, 2**50 - 2000)]  # sequence and first step


@pytest.fixture(params=COMPILERS)
def fill(request):
    pytest.importorskip(COMPILERS[request.param])
    is_on_gpu = request.param == "triton" and torch.cuda.is_available()
    with torch.device("cuda" if is_on_gpu else "cpu"):  # where the tests make their tensors
        yield importlib.import_module(f"ffattn.philox.{request.param}").fill


def expected_words(time, rows=ROWS):
    addresses = [twin.Address(SEED, ADDRESS >> 8, sequence, start, ADDRESS & 255) for sequence, start in rows]
    return [[twin.words(a._replace(step=a.step + t))[(a.step + t) % 4] for t in range(time)] for a in addresses]


def columns(rows=ROWS):
    return torch.tensor([sequence for sequence, _ in rows]), torch.tensor([start for _, start in rows])


@pytest.mark.parametrize(("counter", "key", "expected"), twin.KNOWN_ANSWERS[::2])  # the other's seed is too large
def test_published_answers(fill, counter, key, expected):
    c0, c1, c2, c3, k0, k1 = (int(word, 16) for word in f"{counter} {key}".split())
    out, sequence = torch.empty(1, 4, dtype=torch.int64), torch.tensor([c3 << 32 | c2])
    fill(out, sequence, torch.tensor([4 * ((c1 & 0xFFFF) << 32 | c0)]), c1 >> 16, k1 << 32 | k0)
    assert out[0].tolist() == [int(word, 16) for word in expected.split()]


@pytest.mark.parametrize("time", [1, 2, 4, 5, 31, 1027])
def test_words_are_the_twins(fill, time):
    out = torch.full((len(ROWS), time), -1)
    fill(out, *columns(), ADDRESS, SEED)
    assert out.tolist() == expected_words(time)


@pytest.mark.parametrize("start", range(5))
def test_uniform_numbers_are_the_top_24_bits(fill, start):
    rows = [(sequence, start) for sequence, _ in ROWS]
    out = torch.full((len(ROWS), 9), torch.nan)
    fill(out, *columns(rows), ADDRESS, SEED)
    assert out.tolist() == [[(word >> 8) / 2**24 for word in row] for row in expected_words(9, rows)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_views_are_filled_and_nothing_else(fill, dtype):
    whole = torch.full((len(ROWS), 13, 3), -1, dtype=dtype)
    plain = torch.empty(len(ROWS), 9, dtype=dtype)
    fill(whole[:, 2:11, 1], *columns(), ADDRESS, SEED)
    fill(plain, *columns(), ADDRESS, SEED)
    assert torch.equal(whole[:, 2:11, 1], plain)
    whole[:, 2:11, 1] = -1
    assert (whole == -1).all()


def test_columns_of_any_strides_are_read(fill):
    sequences, starts = (torch.stack((column, -column), dim=1)[:, 0] for column in columns())
    out = torch.empty(len(ROWS), 3, dtype=torch.int64)
    fill(out, sequences, starts, ADDRESS, SEED)
    assert out.tolist() == expected_words(3)


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_nothing_is_filled_with_nothing(shape):
    sequences = torch.arange(shape[0])
    philox.fill(torch.empty(shape), sequences, sequences, ADDRESS, SEED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64], ids=str)
def test_threads_change_no_bit(dtype):
    """As many numbers as several threads share."""
    sequences, starts, found = torch.arange(70), torch.arange(70) % 5, []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(torch.empty(70, 2_000, dtype=dtype))
        philox.fill(found[-1], sequences, starts, ADDRESS, SEED)
    torch.set_num_threads(before)
    expected = torch.empty(70, 2_000, dtype=dtype)
    reference.fill(expected, sequences, starts, ADDRESS, SEED)
    assert all(torch.equal(numbers, expected) for numbers in found)


def test_callers_in_several_threads_do_not_disturb_each_other():
    def numbers(seed):
        out = torch.empty(70, 2_000)
        philox.fill(out, torch.arange(70), torch.arange(70) % 5, ADDRESS, seed)
        return out

    with ThreadPoolExecutor(4) as callers:
        together = list(callers.map(numbers, range(8)))
    assert all(torch.equal(out, numbers(seed)) for seed, out in enumerate(together))
