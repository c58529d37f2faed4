"""Numba: loops compiled to machine code, kept on disk, and run on torch's number of threads.

Kernels are plain functions that release the interpreter lock, on a small pool of threads of our own. Numba's parallel
loops would bring a second OpenMP pool beside torch's, and abort when two threads call them at once.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from inspect import unwrap
from typing import Any

import torch
from llvmlite import ir
from numba import njit, types
from numba.core import event
from numba.extending import intrinsic

_FAST = {"contract", "reassoc", "nsz"}  # sums may be vectorised; NaN and infinity keep their meaning


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; sums may be added in the vector unit's order.

    The compiled code is kept beside the source, and made anew when that file changes. So whatever a kernel calls
    belongs into its own file. A wrapper, such as the tests' type checks, is taken off first.
    """
    return njit(nogil=True, cache=True, error_model="numpy", fastmath=_FAST)(unwrap(function))


def exact_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `kernel`, but every operation happens in the order in which it is written.

    Some flag must be set: a function without any takes over its caller's.
    """
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


class _Announcer(event.Listener):
    """Says once that something is being compiled: the first run takes seconds that later ones do not."""

    def __init__(self) -> None:
        self.is_silent = False

    def on_start(self, event: event.Event) -> None:
        """A compilation that the disk did not spare."""
        if not self.is_silent and event.data["dispatcher"].py_func.__module__.startswith("ffattn"):
            self.is_silent = True
            print("ffattn: compiling kernels for this CPU (some seconds, once)", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        """Nothing to say."""


event.register("numba:compile", _Announcer())  # type: ignore[no-untyped-call]


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked child makes its own."""
    return ThreadPoolExecutor(threads, thread_name_prefix="ffattn")


def run_parts(part: Callable[[int], None], parts: int) -> None:
    """Run every part of a computation, on as many threads as torch has.

    Args:
        part: Called with 0 .. parts - 1, in any order; parts write to places of their own.
        parts: How many there are: a function of the shape alone, so that results do not depend on the threads.

    Raises:
        Exception: What a part raised.
    """
    threads = min(parts, torch.get_num_threads())
    numbers = iter(range(parts))

    def work() -> None:
        for number in numbers:  # one iterator for all threads: next() holds the interpreter lock
            part(number)

    futures = [_pool(threads, os.getpid()).submit(work) for _ in range(threads - 1)]
    work()
    for future in futures:
        future.result()
