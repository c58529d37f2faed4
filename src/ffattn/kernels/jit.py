"""Numba: loops compiled to machine code that releases the interpreter lock and is kept on disk."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from inspect import unwrap
from pathlib import Path
from typing import Any

import llvmlite
import numba
from llvmlite import ir
from numba import config, njit, types
from numba.core import event
from numba.extending import intrinsic

# Sums may be vectorised; NaN and infinity keep their meaning.
FAST_MATH = ("contract", "reassoc", "nsz")
_PACKAGE = Path(__file__).parents[1]


def kernel_sources() -> list[Path]:
    """Return every file that compiled code comes from: those that define kernels, and those that kernels call."""
    folders = (_PACKAGE / "kernels", _PACKAGE / "ops" / "cpu")
    files = (file for folder in folders for file in folder.glob("*.py"))
    return sorted((*files, _PACKAGE / "rng" / "cpu.py"))


@cache
def compiled_folder() -> str | None:
    """Return the folder for compiled code: one for each state of all kernel sources and of the compiler.

    Numba compiles a kernel anew when the kernel's own file changes, and misses a change in any other file that
    the kernel takes code from. A folder named after all of them cannot hold stale code.

    Returns:
        A folder below `NUMBA_CACHE_DIR` if that is set, else beside the package, else in the user's cache: the first
        of them that can be written. None if none can: then every process compiles for itself.
    """
    state = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for source in kernel_sources():
        state.update(f"\n{source.relative_to(_PACKAGE).as_posix()}\n".encode())
        state.update(source.read_bytes())
    folders = (parent / f"ffattn-{state.hexdigest()[:16]}" for parent in _possible_parents())
    return next((str(folder) for folder in folders if _is_writable(folder)), None)


def _possible_parents() -> Iterator[Path]:
    """Yield where compiled code may be kept, the best place first."""
    if config.CACHE_DIR:
        yield Path(config.CACHE_DIR)
    yield _PACKAGE / "__pycache__"
    yield Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def _is_writable(folder: Path) -> bool:
    """Make a folder if need be, and try to write into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@contextmanager
def cached_in_folder() -> Iterator[bool]:
    """Keep the compiled code of what is decorated meanwhile in `compiled_folder`, and no one else's.

    Yields:
        Whether there is such a folder: what Numba's decorators take as `cache`.
    """
    folder = compiled_folder()
    before = config.CACHE_DIR
    config.CACHE_DIR = folder or before
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call; sums may be added in the vector unit's order.

    The compiled code is kept in `compiled_folder`. A wrapper, such as the tests' type checks, is taken off first.
    """
    return _compiled(function, set(FAST_MATH))


def exact_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function as `kernel` does, but with every operation in the order in which it is written.

    Some flag must be set: a function without any takes over its caller's.
    """
    return _compiled(function, {"contract"})


def _compiled(function: Callable[..., Any], flags: set[str]) -> Callable[..., Any]:
    with cached_in_folder() as is_kept:
        return njit(nogil=True, cache=is_kept, error_model="numpy", fastmath=flags)(unwrap(function))


@intrinsic
def bits_to_float(typing_context: Any, bits: Any) -> Any:
    """Return the float32 with the given 32 bits."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), _generate


@intrinsic
def float_to_bits(typing_context: Any, number: Any) -> Any:
    """Return the 32 bits of a float32."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), _generate


@intrinsic
def to_float32(typing_context: Any, number: Any) -> Any:
    """Return a float32 as it is, or the float32 that an int16 with the bits of a bfloat16 stands for."""

    def _generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        if number == types.float32:
            return arguments[0]
        bits = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 16))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(number), _generate


class _CompilationNotice(event.Listener):
    """Print one line at the first compilation: that run takes seconds that later ones do not."""

    def __init__(self) -> None:
        self.is_printed = False

    def on_start(self, event: event.Event) -> None:
        """Print the line, if a kernel of this package is compiled that was not on disk."""
        if not self.is_printed and event.data["dispatcher"].py_func.__module__.startswith("ffattn"):
            self.is_printed = True
            print("ffattn: compiling kernels for this CPU (up to a minute, once)", file=sys.stderr, flush=True)

    def on_end(self, event: event.Event) -> None:
        """Print nothing."""


event.register("numba:compile", _CompilationNotice())
