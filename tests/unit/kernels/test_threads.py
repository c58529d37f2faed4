"""Parts of a computation, shared among threads."""

import multiprocessing
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from ffattn.kernels.jit import Team, _Crew, _peek, kernel, share
from tests.waiting import LIMIT


@kernel
def count_part(place, part, seen, places):
    seen[part] += 1
    places[part] = place


@kernel
def count_parts(threads, parts, seen, places):
    share(threads, parts, count_part, (seen, places))


@kernel
def meet(place, part, seen, places):
    """No part ends before all of them have begun, unless that takes too long: each needs a thread of its own."""
    seen[part], places[part] = 1, place
    for _ in range(20_000_000):
        missing = len(seen)
        for other in range(len(seen)):
            missing -= _peek(seen, other)
        if missing == 0:
            return
    seen[part] = 2


@kernel
def meet_all(threads, parts, seen, places):
    share(threads, parts, meet, (seen, places))


def seen_parts(parts, **options):
    """How often each part ran, and at which thread's place."""
    seen, places = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    with Team(**options) as threads:
        count_parts(threads, parts, seen, places)
    return seen.tolist(), set(places.tolist())


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("parts", [0, 1, 2, 3, 64, 1001])
def test_every_part_runs_exactly_once(parts, threads):
    for _ in range(20):
        seen, places = seen_parts(parts)
        assert seen == [1] * parts
        assert places <= set(range(threads))


def test_a_team_has_the_threads_that_torch_has(threads):
    with Team() as crew:
        assert crew[-1] == threads
    with Team(is_small=True) as crew:
        assert crew == (0, 0, 1)


def test_a_team_that_is_entered_again_gives_back_only_what_it_holds(threads):
    team = Team()
    with team:
        pass
    with Team() as other, team as alone:
        assert alone == (0, 0, 1)
        assert other[-1] == threads
    with Team() as crew:
        assert crew[-1] == threads


def test_all_threads_take_part(threads):
    seen, places = np.zeros(threads, np.int64), np.zeros(threads, np.int64)
    with Team() as crew:
        meet_all(crew, threads, seen, places)
    assert seen.tolist() == [1] * threads
    assert sorted(places) == list(range(threads))


def test_arguments_outlive_what_threads_borrow(threads):
    """Threads hold no references; the caller's are enough, and none is given up twice."""
    seen, places = np.zeros(64, np.int64), np.zeros(64, np.int64)
    before = sys.getrefcount(seen), sys.getrefcount(places)
    for _ in range(100):
        with Team() as crew:
            count_parts(crew, 64, seen, places)
    assert (sys.getrefcount(seen), sys.getrefcount(places)) == before
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


def test_a_team_within_a_team_is_the_caller_alone(threads):
    with Team(), Team() as inner:
        assert inner == (0, 0, 1)
    assert seen_parts(16)[0] == [1] * 16


def test_a_team_that_cannot_start_is_free_for_the_next_caller(threads, monkeypatch):
    """As where a process may have no more threads."""

    def fail(self, count):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(_Crew, "grow", fail)
        if threads > 1:
            with pytest.raises(RuntimeError, match="can't start"):
                seen_parts(16)
    with Team() as crew:
        assert crew[-1] == threads


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
