"""Numbers that are too small are zero while a network is trained, in all threads that have a part in it."""

import numpy as np
import pytest
import torch
from tiny_runs import fit

from ffattn.lightning import SequenceModule
from ffattn.system.denormals import flushed_denormals, flushes_denormals

pytest.importorskip("numba")

from ffattn.kernels.jit import kernel
from ffattn.kernels.threads import ThreadPool, parallel_for

SMALL = 1e-38  # a float32 whose tenth has no more than some of its digits


def test_small_numbers_are_zero_for_a_while():
    small = torch.full((4,), SMALL)
    assert (small / 10 > 0).all()
    with flushed_denormals():
        assert flushes_denormals()
        assert (small / 10 == 0).all()
        with flushed_denormals():
            pass
        assert flushes_denormals()
    assert not flushes_denormals()
    assert (small / 10 > 0).all()


@kernel
def _tenth(worker, part, numbers):
    for i in range(numbers.shape[1]):
        numbers[part, i] /= np.float32(10)


@kernel
def _tenths(handle, numbers):
    parallel_for(handle, len(numbers), _tenth, (numbers,))


def _tenths_by_a_pool():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with ThreadPool.borrow() as workers:
            numbers = np.full((10_000, 100), SMALL, np.float32)  # enough for a second thread to come in time
            _tenths(workers.handle, numbers)
    finally:
        torch.set_num_threads(before)
    return numbers


def test_threads_of_a_pool_do_as_their_leader_does():
    assert (_tenths_by_a_pool() > 0).all()
    with flushed_denormals():
        assert (_tenths_by_a_pool() == 0).all()
    assert (_tenths_by_a_pool() > 0).all()


def test_training_flushes_them(tmp_path, monkeypatch):
    seen = []
    step = SequenceModule.training_step

    def note(module, *arguments):
        seen.append(flushes_denormals())
        return step(module, *arguments)

    monkeypatch.setattr(SequenceModule, "training_step", note)
    fit(tmp_path / "run", updates=2)
    assert seen == [True, True]
    assert not flushes_denormals()
