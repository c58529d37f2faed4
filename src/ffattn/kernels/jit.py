"""Numba: loops compiled to machine code, kept on disk, and run on torch's number of threads.

Kernels are plain functions that release the interpreter lock, on a small team of threads of our own. Numba's parallel
loops would bring a second OpenMP pool beside torch's, and abort when two threads call them at once.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from inspect import unwrap
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import llvmlite
import numba
import numpy as np
import torch
from llvmlite import ir
from numba import carray, cfunc, config, njit, types
from numba.core import cgutils, event
from numba.extending import intrinsic

from ffattn.system.denormals import flushes_denormals

_LONG, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_FAST = {"contract", "reassoc", "nsz"}  # sums may be vectorised; NaN and infinity keep their meaning
_PACKAGE = Path(__file__).parents[1]
_SOURCES = (
    "kernels/jit.py",
    "kernels/simd.py",
    "ops/cpu/__init__.py",
    "rng/cpu.py",
)  # every file that compiled code comes from


@cache
def compiled_folder() -> str:
    """Return the folder for compiled code: one for each state of all kernel sources and of the compiler.

    Numba compiles a kernel anew when the kernel's own file changes, and misses a change in any other file that
    the kernel takes code from. A folder named after all of them cannot hold stale code. It is below
    `NUMBA_CACHE_DIR` if that is set, else beside the package, else in the user's cache.
    """
    state = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for source in _SOURCES:
        state.update((_PACKAGE / source).read_bytes())
    name = f"ffattn-{state.hexdigest()[:16]}"
    beside = _PACKAGE / "__pycache__"
    if config.CACHE_DIR:
        return str(Path(config.CACHE_DIR) / name)
    if _is_writable(beside / name):
        return str(beside / name)
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


@contextmanager
def _cached_in_folder() -> Iterator[None]:
    """Keep the compiled code of what is decorated meanwhile in `compiled_folder`, and no one else's."""
    before = config.CACHE_DIR
    config.CACHE_DIR = compiled_folder()
    try:
        yield
    finally:
        config.CACHE_DIR = before


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; sums may be added in the vector unit's order.

    The compiled code is kept in `compiled_folder`. A wrapper, such as the tests' type checks, is taken off first.
    """
    with _cached_in_folder():
        return njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)(unwrap(function))


def exact_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `kernel`, but every operation happens in the order in which it is written.

    Some flag must be set: a function without any takes over its caller's.
    """
    with _cached_in_folder():
        return njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})(unwrap(function))


@intrinsic
def bits_to_float(typing_context: Any, bits: Any) -> Any:
    """The float32 with the given 32 bits."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@intrinsic
def float_to_bits(typing_context: Any, number: Any) -> Any:
    """The 32 bits of a float32."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def to_float32(typing_context: Any, number: Any) -> Any:
    """A float32 as it is, or the float32 that an int16 with the bits of a bfloat16 stands for."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if number == types.float32:
            return arguments[0]
        bits = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(number), generate


@intrinsic
def share(typing_context: Any, team: Any, parts: Any, function: Any, arguments: Any) -> Any:
    """Let a team of threads call function(place, part, *arguments) for every part, as threads come free.

    This is what a compiler makes of an OpenMP loop with a dynamic schedule. A place is a number of the thread's own,
    from 0 on.

    Args:
        typing_context: Numba's.
        team: What a `Team` gave.
        parts: How many parts there are: a function of the shape alone, so that results do not depend on the threads.
        function: A kernel that raises nothing.
        arguments: A tuple.
    """
    callee = typing_context.resolve_function_type(function, (types.int64, types.int64, *arguments.types), {})

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        (lead, crew, threads), parts = cgutils.unpack_tuple(builder, values[0]), values[1]
        compiled = function.dispatcher.overloads[callee.args]
        context.active_code_library.add_linking_library(compiled.library)
        shared = cgutils.pack_struct(
            builder, [_LONG(0), _LONG(0), parts, _lend(context, builder, arguments, values[3])]
        )
        work = _outline(context, builder.module, compiled.fndesc, shared.type)
        slot = builder.bitcast(cgutils.alloca_once_value(builder, shared), _BYTES)
        threads = builder.select(builder.icmp_signed("<", parts, threads), parts, threads)
        with builder.if_else(builder.icmp_signed("<", threads, _LONG(2))) as (is_alone, is_team):
            with is_alone:
                builder.call(work, [slot])
            with is_team:
                kind = ir.FunctionType(ir.VoidType(), [_LONG] * 4)
                addresses = [builder.ptrtoint(pointer, _LONG) for pointer in (work, slot)]
                builder.call(builder.inttoptr(lead, kind.as_pointer()), [crew, threads, *addresses])
        return context.get_dummy_value()

    return types.none(team, types.int64, function, arguments), generate


def _lend(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> Any:
    """Arguments without their reference counts, which threads would take from each other; the caller holds them."""
    if isinstance(kind, types.BaseTuple):
        values = cgutils.unpack_tuple(builder, value)
        lent = [_lend(context, builder, *pair) for pair in zip(kind.types, values, strict=True)]
        return context.make_tuple(builder, kind, lent)
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo = cgutils.get_null_value(array.meminfo.type)
    array.parent = cgutils.get_null_value(array.parent.type)
    return array._getvalue()


def _outline(context: Any, module: ir.Module, callee: Any, shared: ir.Type) -> ir.Function:
    """What each thread of a team runs: it takes a place, and then part after part.

    They share: parts that were taken, places that were taken, number of parts, and arguments.
    """
    function = ir.Function(
        module, ir.FunctionType(ir.VoidType(), [_BYTES]), module.get_unique_name(f"{callee.mangled_name}.share")
    )
    function.linkage = "internal"
    start, ahead, body, end = (function.append_basic_block() for _ in range(4))
    builder = ir.IRBuilder(start)
    slot = builder.bitcast(function.args[0], shared.as_pointer())
    taken, places = (cgutils.gep_inbounds(builder, slot, 0, field) for field in range(2))
    _, _, parts, arguments = cgutils.unpack_tuple(builder, builder.load(slot))
    place = builder.atomic_rmw("add", places, _LONG(1), "monotonic")
    builder.branch(ahead)
    builder.position_at_end(ahead)
    part = builder.atomic_rmw("add", taken, _LONG(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, parts), body, end)
    builder.position_at_end(body)
    compiled = context.declare_function(module, callee)
    values = [place, part, *cgutils.unpack_tuple(builder, arguments)]
    context.call_conv.call_function(builder, compiled, callee.restype, callee.argtypes, values)
    builder.branch(ahead)
    builder.position_at_end(end)
    builder.ret_void()
    return function


class _Announcer(event.Listener):
    """Says once that something is being compiled: the first run takes seconds that later ones do not."""

    def __init__(self) -> None:
        self.is_silent = False

    def on_start(self, event: event.Event) -> None:
        """A compilation that the disk did not spare."""
        if not self.is_silent and event.data["dispatcher"].py_func.__module__.startswith("ffattn"):
            self.is_silent = True
            print("ffattn: compiling kernels for this CPU (up to a minute, once)", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


event.register("numba:compile", _Announcer())


# What a team's threads share: a lock and two conditions, with room for any system's; then places that are still free in
# the work at hand, threads that have one and are not done, and addresses of the work's function and data.
_WORDS, _LOCK, _START, _DONE, _FREE, _BUSY, _WORK, _DATA = 28, 0, 8, 16, 24, 25, 26, 27

# Looks for something to do, about 0.2 ms, before a thread sleeps: waking it takes 25 to 50 us. Four times as many are
# in time for the next kernel of a short update, and take a fifth off that; but other processes then wait for a thread
# that does nothing. To let them go first (sched_yield) made two processes of many short kernels six times slower.
_PATIENCE = 2**19


def _pthread(name: str, arguments: int) -> types.ExternalFunction:
    return types.ExternalFunction(f"pthread_{name}", types.int32(*[types.intp] * arguments))


_mutex_init, _cond_init = _pthread("mutex_init", 2), _pthread("cond_init", 2)
_lock, _unlock, _wait = _pthread("mutex_lock", 1), _pthread("mutex_unlock", 1), _pthread("cond_wait", 2)
_signal, _broadcast = _pthread("cond_signal", 1), _pthread("cond_broadcast", 1)


@intrinsic
def _call(typing_context: Any, work: Any, data: Any) -> Any:
    """Call a function by its address."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTES])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [builder.inttoptr(values[1], _BYTES)])
        return context.get_dummy_value()

    return types.none(work, data), generate


@intrinsic
def _peek(typing_context: Any, words: Any, place: Any) -> Any:
    """What another thread has written."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> Any:
        start = context.make_array(words)(context, builder, values[0]).data
        return builder.load_atomic(builder.gep(start, [values[1]]), "acquire", 8)

    return types.int64(words, place), generate


@kernel
def _prepare(words: Any) -> None:
    base = words.ctypes.data
    _mutex_init(base + 8 * _LOCK, 0)
    _cond_init(base + 8 * _START, 0)
    _cond_init(base + 8 * _DONE, 0)


@kernel
def _look_for(words: Any, place: int, is_wanted: bool) -> None:
    """Wait a moment for a count to be more than zero, or to be zero."""
    for _ in range(_PATIENCE):
        if (_peek(words, place) > 0) == is_wanted:
            break


@kernel
def _serve(words: Any) -> None:
    """What a thread of a team does, forever and outside of the interpreter: it looks for work, sleeps, and works."""
    base = words.ctypes.data
    while True:
        _look_for(words, _FREE, True)
        _lock(base + 8 * _LOCK)
        while words[_FREE] == 0:
            _wait(base + 8 * _START, base + 8 * _LOCK)
        words[_FREE] -= 1
        work, data = words[_WORK], words[_DATA]
        _unlock(base + 8 * _LOCK)
        _call(work, data)
        _lock(base + 8 * _LOCK)
        words[_BUSY] -= 1
        if words[_BUSY] == 0:
            _signal(base + 8 * _DONE)
        _unlock(base + 8 * _LOCK)


@kernel
def _lead(words: Any, threads: int, work: int, data: int) -> None:
    """Let so many threads of a team do a piece of work, the caller among them."""
    base = words.ctypes.data
    _lock(base + 8 * _LOCK)
    words[_WORK], words[_DATA] = work, data
    words[_FREE] = words[_BUSY] = threads - 1
    _unlock(base + 8 * _LOCK)
    _broadcast(base + 8 * _START)  # after the lock, for which the threads would have to wait
    _call(work, data)
    _lock(base + 8 * _LOCK)
    words[_BUSY] -= words[_FREE]  # a thread that has not even started is not waited for
    words[_FREE] = 0
    _unlock(base + 8 * _LOCK)
    _look_for(words, _BUSY, False)
    _lock(base + 8 * _LOCK)
    while words[_BUSY] > 0:
        _wait(base + 8 * _DONE, base + 8 * _LOCK)
    _unlock(base + 8 * _LOCK)


def _lead_at(team: Any, threads: int, work: int, data: int) -> None:
    """The same, for a team that is given by its address."""
    _lead(carray(team, _WORDS), threads, work, data)


@cache
def _leader() -> Any:
    """`_lead_at` for other languages.

    What threads run is compiled first, for then none of them holds Numba's lock: a process that is forked meanwhile
    would wait for it forever.
    """
    _serve.compile((types.int64[::1],))
    with _cached_in_folder():
        return cfunc(types.void(types.CPointer(types.int64), *[types.int64] * 3), cache=True)(unwrap(_lead_at))


class _Crew:
    """Threads of this process that share the work of kernels.

    Python's own threads hand over work more slowly than a short kernel runs, and OpenMP's (torch's) spin on while
    another process has their processor.
    """

    def __init__(self) -> None:
        self.words, self.threads, self.is_taken = np.zeros(_WORDS, np.int64), 1, Lock()
        self.address = self.words.ctypes.data
        self.lead = _leader().address
        _prepare(self.words)

    def grow(self, threads: int) -> None:
        """Start the threads that are missing."""
        for _ in range(self.threads, threads):
            Thread(target=_serve, args=(self.words,), name="ffattn", daemon=True).start()
        self.threads = max(self.threads, threads)


@cache
def _crew(process: int, flushes: bool) -> _Crew:
    """The threads of a process, since a forked child makes its own, that treat denormals as the one that asks does."""
    return _Crew()


class Team:
    """As many threads as torch has, for kernels that `share` their work: `with Team() as team: ...`.

    Entering it gives addresses of the function that leads the threads and of what they have in common, and their
    number; zeros and 1 if the caller shall work alone: torch has one thread, the work is small, or the others work for
    another caller.

    Args:
        is_small: Whether waking a thread would take longer than the work.
    """

    def __init__(self, *, is_small: bool = False) -> None:
        self.is_small = is_small
        self.crew: _Crew | None = None  # while it is held

    def __enter__(self) -> tuple[int, int, int]:
        threads = torch.get_num_threads()
        if self.is_small or threads < 2:
            return 0, 0, 1
        crew = _crew(os.getpid(), flushes_denormals())
        if not crew.is_taken.acquire(blocking=False):
            return 0, 0, 1
        try:
            crew.grow(threads)
        except BaseException:
            crew.is_taken.release()
            raise
        self.crew = crew
        return crew.lead, crew.address, threads

    def __exit__(self, *error: object) -> None:
        if self.crew is not None:
            self.crew.is_taken.release()
            self.crew = None
