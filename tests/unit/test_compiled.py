"""Parts of a computation, shared among threads."""

import collections
import multiprocessing
import threading

import pytest
import torch

pytest.importorskip("numba")

from ffattn.compiled import run_parts


@pytest.fixture(params=[1, 2, 3, 8])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("parts", [0, 1, 2, 3, 64, 1001])
def test_every_part_runs_exactly_once(parts):
    seen = []
    run_parts(seen.append, parts)
    assert sorted(seen) == list(range(parts))


def test_parts_share_the_threads_that_torch_has(threads):
    """Each part waits for all others, so that none could end if threads were missing."""
    barrier, names = threading.Barrier(threads, timeout=20), set()

    def part(number):
        names.add(threading.get_ident())
        barrier.wait()

    run_parts(part, threads)
    assert len(names) == threads
    assert threading.get_ident() in names


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("bad", [0, 5, 15])
def test_what_a_part_raises_is_raised(bad):
    def part(number):
        if number == bad:
            raise ZeroDivisionError(f"part {number}")

    with pytest.raises(ZeroDivisionError, match=f"part {bad}"):
        run_parts(part, 16)
    seen = []
    run_parts(seen.append, 16)
    assert sorted(seen) == list(range(16))


@pytest.mark.usefixtures("threads")
def test_callers_in_several_threads_do_not_share_parts():
    seen = collections.defaultdict(list)
    callers = [threading.Thread(target=run_parts, args=(seen[name].append, 100)) for name in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert [sorted(numbers) for numbers in seen.values()] == [list(range(100))] * 4


def _run_in_child(queue):
    seen = []
    run_parts(seen.append, 16)
    queue.put(sorted(seen))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python warns of what is tested here
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own(threads):
    """Those of its parent do not exist in it."""
    run_parts(lambda number: None, 16)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_run_in_child, args=(queue,), daemon=True)
    child.start()
    child.join(timeout=20)
    assert child.exitcode == 0
    assert queue.get() == list(range(16))
