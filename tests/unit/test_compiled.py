"""Parts of a computation, shared among threads."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from ffattn.compiled import kernel, next_part, run_parts


@kernel
def count_parts(counter, parts, seen):
    part = next_part(counter)
    while part < parts:
        seen[part] += 1
        part = next_part(counter)


def seen_parts(parts):
    """How often each part ran."""
    seen = np.zeros(parts, np.int64)
    run_parts(lambda counter: count_parts(counter, parts, seen), parts)
    return seen.tolist()


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 64, 1001])
def test_every_part_runs_exactly_once(parts):
    assert seen_parts(parts) == [1] * parts


def test_parts_share_the_threads_that_torch_has(threads):
    """Each thread waits for all others, so that none could end if one were missing."""
    barrier, names = threading.Barrier(threads, timeout=20), set()

    def work(counter):
        names.add(threading.get_ident())
        barrier.wait()

    run_parts(work, 64)
    assert len(names) == threads
    assert threading.get_ident() in names


def test_fewer_parts_need_fewer_threads(threads):
    calls = []
    run_parts(calls.append, 2)
    assert len(calls) <= min(2, threads)


@pytest.mark.usefixtures("threads")
def test_what_the_work_raises_is_raised():
    def work(counter):
        raise ZeroDivisionError("a part")

    with pytest.raises(ZeroDivisionError, match="a part"):
        run_parts(work, 16)
    assert seen_parts(16) == [1] * 16


@pytest.mark.usefixtures("threads")
def test_callers_in_several_threads_do_not_share_parts():
    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(seen_parts, [100] * 4)) == [[1] * 100] * 4


def _run_in_child(queue):
    queue.put(seen_parts(16))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python warns of what is tested here
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own(threads):
    """Those of its parent do not exist in it."""
    seen_parts(16)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_run_in_child, args=(queue,), daemon=True)
    child.start()
    child.join(timeout=20)
    assert child.exitcode == 0
    assert queue.get() == [1] * 16
