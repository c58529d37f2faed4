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

import numpy as np
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


@intrinsic
def next_part(typing_context: Any, counter: Any) -> Any:
    """Take the next number from a counter, an array of one int64, as one indivisible step."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        place = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


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


def run_parts(work: Callable[[Any], None], parts: int) -> None:
    """Let as many threads as torch has share the parts of a computation.

    Args:
        work: Called once by each thread, with a counter. It does part after part, as long as `next_part(counter)` is
            less than the number of parts. So the interpreter, which only one thread can use at a time, is not involved.
        parts: How many parts there are: a function of the shape alone, so that results do not depend on the threads.

    Raises:
        Exception: What the work raised.
    """
    counter = np.zeros(1, np.int64)
    threads = min(parts, torch.get_num_threads())
    futures = [_pool(threads, os.getpid()).submit(work, counter) for _ in range(threads - 1)]
    work(counter)
    for future in futures:
        if not future.cancel():  # a thread that has not even started is not waited for
            future.result()
