"""Parts of a computation, shared among threads."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from ffattn.kernels.jit import kernel
from ffattn.kernels.threads import ALONE, ThreadPool, load_acquire, parallel_for
from tests.waiting import LIMIT


@kernel
def count_part(worker, part, seen, workers):
    seen[part] += 1
    workers[part] = worker


@kernel
def count_parts(handle, parts, seen, workers):
    parallel_for(handle, parts, count_part, (seen, workers))


@kernel
def meet(worker, part, seen, workers):
    """No part ends before all of them have begun, unless that takes too long: each needs a thread of its own."""
    seen[part] = 1
    workers[part] = worker
    for _ in range(20_000_000):
        missing = len(seen)
        for other in range(len(seen)):
            missing -= load_acquire(seen, other)
        if missing == 0:
            return
    seen[part] = 2


@kernel
def meet_all(handle, parts, seen, workers):
    parallel_for(handle, parts, meet, (seen, workers))


def seen_parts(parts, **options):
    """How often each part ran, and on which threads."""
    seen, workers = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    with ThreadPool.borrow(**options) as threads:
        count_parts(threads.handle, parts, seen, workers)
    return seen.tolist(), set(workers.tolist())


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 64, 1001])
def test_every_part_runs_exactly_once(parts, threads):
    for _ in range(20):
        seen, workers = seen_parts(parts)
        assert seen == [1] * parts
        assert workers <= set(range(threads))


def test_a_pool_lends_the_threads_that_torch_has(threads):
    with ThreadPool.borrow() as workers:
        assert workers.threads == threads
    with ThreadPool.borrow(is_small=True) as workers:
        assert workers == ALONE == (1, (0, 0, 1))


def test_who_got_no_threads_gives_none_back(threads):
    with ThreadPool.borrow() as outer:
        for _ in range(2):
            with ThreadPool.borrow() as inner:
                assert inner == ALONE
        assert outer.threads == threads
    with ThreadPool.borrow() as workers:
        assert workers.threads == threads


def test_all_threads_take_part(threads):
    seen, workers = np.zeros(threads, np.int64), np.zeros(threads, np.int64)
    with ThreadPool.borrow() as borrowed:
        meet_all(borrowed.handle, threads, seen, workers)
    assert seen.tolist() == [1] * threads
    assert sorted(workers) == list(range(threads))


def test_arguments_outlive_what_threads_borrow(threads):
    """Threads hold no references; the caller's are enough, and none is given up twice."""
    seen, workers = np.zeros(64, np.int64), np.zeros(64, np.int64)
    before = sys.getrefcount(seen), sys.getrefcount(workers)
    for _ in range(100):
        with ThreadPool.borrow() as borrowed:
            count_parts(borrowed.handle, 64, seen, workers)
    assert (sys.getrefcount(seen), sys.getrefcount(workers)) == before
    assert seen.tolist() == [100] * 64


def test_fewer_threads_than_before_are_enough(threads):
    seen_parts(64)
    torch.set_num_threads(1)
    assert seen_parts(64) == ([1] * 64, {0})


def test_small_work_stays_with_the_caller(threads):
    assert seen_parts(64, is_small=True) == ([1] * 64, {0})


def test_callers_in_several_threads_do_not_share_parts(threads):
    with ThreadPoolExecutor(4) as callers:
        assert [seen for seen, _ in callers.map(seen_parts, [100] * 40)] == [[1] * 100] * 40


def test_who_borrows_twice_works_alone_the_second_time(threads):
    with ThreadPool.borrow(), ThreadPool.borrow() as inner:
        assert inner == ALONE
    assert seen_parts(16)[0] == [1] * 16


def test_a_pool_that_cannot_start_threads_is_free_for_the_next_caller(threads, monkeypatch):
    """As where a process may have no more threads."""

    def fail(self, count):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPool, "resize", fail)
        if threads > 1:
            with pytest.raises(RuntimeError, match="can't start"):
                seen_parts(16)
    with ThreadPool.borrow() as workers:
        assert workers.threads == threads


def test_an_error_gives_the_threads_back(threads):
    with pytest.raises(ZeroDivisionError), ThreadPool.borrow():
        raise ZeroDivisionError
    with ThreadPool.borrow() as workers:
        assert workers.threads == threads


def _run_in_child(queue):
    queue.put(seen_parts(16)[0])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python warns of what is tested here
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own(threads):
    """Those of its parent do not exist in it."""
    seen_parts(16)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_run_in_child, args=(queue,), daemon=True)
    child.start()
    child.join(timeout=LIMIT)
    assert child.exitcode == 0
    assert queue.get() == [1] * 16
