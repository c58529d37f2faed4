"""Threads of our own that share the work of a kernel: a pool of them, and the parallel loop that compiled code has.

Numba's parallel loops would bring a second OpenMP pool beside torch's, and abort when two threads call them at once.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from inspect import unwrap
from threading import Lock, Thread
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from ffattn.kernels.jit import cached_in_folder, kernel
from ffattn.system.denormals import flushes_denormals

_LONG = ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()


class Workers(NamedTuple):
    """Threads that share the work of a kernel, the caller among them.

    Attributes:
        threads: How many.
        handle: What `parallel_for` takes: the addresses of the function that leads the threads and of what they have
            in common, zeros if the caller works alone; and how many they are. A plain tuple, which Numba takes faster.
    """

    threads: int
    handle: tuple[int, int, int]


ALONE = Workers(1, (0, 0, 1))
_WITHOUT_THREADS = nullcontext(ALONE)


@intrinsic
def parallel_for(typing_context: Any, handle: Any, parts: Any, function: Any, arguments: Any) -> Any:
    """Let threads call function(worker, part, *arguments) for every part, as they come free.

    This is what a compiler makes of an OpenMP loop with a dynamic schedule. A worker is a thread's own number, from 0
    on.

    Args:
        typing_context: Numba's.
        handle: Of the `Workers` that `ThreadPool.borrow` gave.
        parts: How many parts there are: a function of the shape alone, so that results do not depend on the threads.
        function: A kernel that raises nothing.
        arguments: A tuple.
    """
    callee = typing_context.resolve_function_type(function, (types.int64, types.int64, *arguments.types), {})

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        lead, pool, threads = cgutils.unpack_tuple(builder, values[0])
        parts = values[1]
        compiled = function.dispatcher.overloads[callee.args]
        context.active_code_library.add_linking_library(compiled.library)
        lent = _without_references(context, builder, arguments, values[3])
        shared = cgutils.pack_struct(builder, [_LONG(0), _LONG(0), parts, lent])
        work = _work_of_a_thread(context, builder.module, compiled.fndesc, shared.type)
        data = builder.bitcast(cgutils.alloca_once_value(builder, shared), _BYTES)
        threads = builder.select(builder.icmp_signed("<", parts, threads), parts, threads)
        with builder.if_else(builder.icmp_signed("<", threads, _LONG(2))) as (is_alone, has_others):
            with is_alone:
                builder.call(work, [data])
            with has_others:
                kind = ir.FunctionType(ir.VoidType(), [_LONG] * 4)
                addresses = [builder.ptrtoint(pointer, _LONG) for pointer in (work, data)]
                builder.call(builder.inttoptr(lead, kind.as_pointer()), [pool, threads, *addresses])
        return context.get_dummy_value()

    return types.none(handle, types.int64, function, arguments), _generate


def _without_references(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> Any:
    """Return arguments without their reference counts, which threads would take from each other; the caller's do."""
    if isinstance(kind, types.BaseTuple):
        values = cgutils.unpack_tuple(builder, value)
        lent = [_without_references(context, builder, *pair) for pair in zip(kind.types, values, strict=True)]
        return context.make_tuple(builder, kind, lent)
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    return array._getvalue()  # as in Numba's documentation of low-level extensions


def _work_of_a_thread(context: Any, module: ir.Module, callee: Any, shared: ir.Type) -> ir.Function:
    """Return what each thread runs: it takes a number of its own, and then part after part.

    They share: parts that were taken, numbers that were taken, how many parts there are, and arguments.
    """
    name = module.get_unique_name(f"{callee.mangled_name}.share")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_BYTES]), name)
    function.linkage = "internal"
    start, ahead, body, end = (function.append_basic_block() for _ in range(4))
    builder = ir.IRBuilder(start)
    slot = builder.bitcast(function.args[0], shared.as_pointer())
    taken_parts, taken_numbers = (cgutils.gep_inbounds(builder, slot, 0, field) for field in range(2))
    _, _, parts, arguments = cgutils.unpack_tuple(builder, builder.load(slot))
    worker = builder.atomic_rmw("add", taken_numbers, _LONG(1), "monotonic")
    builder.branch(ahead)
    builder.position_at_end(ahead)
    part = builder.atomic_rmw("add", taken_parts, _LONG(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, parts), body, end)
    builder.position_at_end(body)
    compiled = context.declare_function(module, callee)
    values = [worker, part, *cgutils.unpack_tuple(builder, arguments)]
    context.call_conv.call_function(builder, compiled, callee.restype, callee.argtypes, values)
    builder.branch(ahead)
    builder.position_at_end(end)
    builder.ret_void()
    return function


# What the threads of a pool have in common is an array of 64-bit words. These are places in it.
_LOCK = 0  # a mutex, with room for any system's
_START = 8  # a condition: there is work
_DONE = 16  # a condition: nobody works any more
_FREE = 24  # how many threads the work at hand still takes
_BUSY = 25  # how many threads have it, or may still take it
_WORK = 26  # address of the work's function
_DATA = 27  # address of the work's data
_WORDS = 28  # how many words there are
_BYTES_IN_A_WORD = 8

# Looks for something to do, about 0.2 ms, before a thread sleeps: waking it takes 25 to 50 us. Four times as many are
# in time for the next kernel of a short update, and take a fifth off that; but other processes then wait for a thread
# that does nothing. To let them go first (sched_yield) made two processes of many short kernels six times slower.
_LOOKS = 2**19


def _pthread(name: str, arguments: int) -> types.ExternalFunction:
    return types.ExternalFunction(f"pthread_{name}", types.int32(*[types.intp] * arguments))


_mutex_init = _pthread("mutex_init", 2)
_mutex_lock = _pthread("mutex_lock", 1)
_mutex_unlock = _pthread("mutex_unlock", 1)
_cond_init = _pthread("cond_init", 2)
_cond_wait = _pthread("cond_wait", 2)
_cond_signal = _pthread("cond_signal", 1)
_cond_broadcast = _pthread("cond_broadcast", 1)


@intrinsic
def _call(typing_context: Any, work: Any, data: Any) -> Any:
    """Call a function by its address."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [builder.inttoptr(values[1], _BYTES)])
        return context.get_dummy_value()

    return types.none(work, data), _generate


@intrinsic
def load_acquire(typing_context: Any, words: Any, place: Any) -> Any:
    """Return a number of an array of int64, as another thread has written it."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        start = context.make_array(words)(context, builder, values[0]).data
        return builder.load_atomic(builder.gep(start, [values[1]]), "acquire", _BYTES_IN_A_WORD)

    return types.int64(words, place), _generate


@kernel
def _initialise(words: Any) -> None:
    """Make the lock and the conditions."""
    base = words.ctypes.data
    _mutex_init(base + _BYTES_IN_A_WORD * _LOCK, 0)
    _cond_init(base + _BYTES_IN_A_WORD * _START, 0)
    _cond_init(base + _BYTES_IN_A_WORD * _DONE, 0)


@kernel
def _look_for(words: Any, place: int, is_wanted: bool) -> None:
    """Wait a moment for a count to be more than zero, or to be zero."""
    for _ in range(_LOOKS):
        if (load_acquire(words, place) > 0) == is_wanted:
            break


@kernel
def _serve(words: Any) -> None:
    """Run a thread of the pool, forever and outside of the interpreter: it looks for work, sleeps, and works."""
    base = words.ctypes.data
    lock = base + _BYTES_IN_A_WORD * _LOCK
    while True:
        _look_for(words, _FREE, True)
        _mutex_lock(lock)
        while words[_FREE] == 0:
            _cond_wait(base + _BYTES_IN_A_WORD * _START, lock)
        words[_FREE] -= 1
        work = words[_WORK]
        data = words[_DATA]
        _mutex_unlock(lock)
        _call(work, data)
        _mutex_lock(lock)
        words[_BUSY] -= 1
        if words[_BUSY] == 0:
            _cond_signal(base + _BYTES_IN_A_WORD * _DONE)
        _mutex_unlock(lock)


@kernel
def _lead(words: Any, threads: int, work: int, data: int) -> None:
    """Let so many threads of the pool do a piece of work, the caller among them."""
    base = words.ctypes.data
    lock = base + _BYTES_IN_A_WORD * _LOCK
    _mutex_lock(lock)
    words[_WORK] = work
    words[_DATA] = data
    words[_FREE] = words[_BUSY] = threads - 1
    _mutex_unlock(lock)
    _cond_broadcast(base + _BYTES_IN_A_WORD * _START)  # after the lock, for which the threads would have to wait
    _call(work, data)
    _mutex_lock(lock)
    words[_BUSY] -= words[_FREE]  # a thread that has not even started is not waited for
    words[_FREE] = 0
    _mutex_unlock(lock)
    _look_for(words, _BUSY, False)
    _mutex_lock(lock)
    while words[_BUSY] > 0:
        _cond_wait(base + _BYTES_IN_A_WORD * _DONE, lock)
    _mutex_unlock(lock)


def _lead_by_address(pool: Any, threads: int, work: int, data: int) -> None:
    """Do as `_lead` does, for words that are given by their address."""
    _lead(carray(pool, _WORDS), threads, work, data)


@cache
def _leader() -> Any:
    """Return `_lead_by_address` as a function of C.

    What threads run is compiled first, for then none of them holds Numba's lock: a process that is forked meanwhile
    would wait for it forever.
    """
    _serve.compile((types.int64[::1],))
    signature = types.void(types.CPointer(types.int64), *[types.int64] * 3)
    with cached_in_folder() as is_kept:
        return cfunc(signature, cache=is_kept)(unwrap(_lead_by_address))


class ThreadPool:
    """Threads of this process that share the work of kernels: `with ThreadPool.borrow() as workers: ...`.

    Python's own threads hand over work more slowly than a short kernel runs, and OpenMP's (torch's) spin on while
    another process has their processor.
    """

    def __init__(self) -> None:
        self._words = np.zeros(_WORDS, np.int64)
        self._addresses = _leader().address, self._words.ctypes.data
        self._workers = ALONE
        self._started = 1
        self._is_borrowed = Lock()
        _initialise(self._words)

    @staticmethod
    def borrow(*, is_small: bool = False) -> AbstractContextManager[Workers]:
        """Return a context with as many threads as torch has, which nobody else can borrow meanwhile.

        It gives `ALONE` where the caller shall work alone: torch has one thread, the work is small, or the others work
        for another caller.

        Args:
            is_small: Whether waking a thread would take longer than the work.
        """
        threads = torch.get_num_threads()
        if is_small or threads < 2:
            return _WITHOUT_THREADS
        pool = _pool(os.getpid(), flushes_denormals())
        if not pool._is_borrowed.acquire(blocking=False):
            return _WITHOUT_THREADS
        try:
            pool.resize(threads)
        except BaseException:
            pool._is_borrowed.release()
            raise
        return pool

    def resize(self, threads: int) -> None:
        """Lend so many threads from now on; start those that are missing.

        Args:
            threads: How many, the caller included.
        """
        for _ in range(self._started, threads):
            Thread(target=_serve, args=(self._words,), name="ffattn", daemon=True).start()
        self._started = max(self._started, threads)
        if self._workers.threads != threads:
            self._workers = Workers(threads, (*self._addresses, threads))

    def __enter__(self) -> Workers:
        return self._workers

    def __exit__(self, *error: object) -> None:
        self._is_borrowed.release()


@cache
def _pool(process: int, flushes: bool) -> ThreadPool:
    """Return the pool of a process, since a forked child makes its own, that treats denormals as the caller does."""
    return ThreadPool()
