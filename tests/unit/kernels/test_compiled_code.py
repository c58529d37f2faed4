"""Compiled code on disk is never older than any source that it was made from."""

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

import ffattn
from ffattn.kernels import jit, simd
from ffattn.ops import cpu
from ffattn.rng import cpu as rng_cpu

PACKAGE = Path(ffattn.__file__).parent
KERNEL = """
import numpy as np
from ffattn.kernels.jit import float_to_bits, kernel

@kernel
def bits(number):
    return float_to_bits(number)

print(bits(np.float32(1.0)), sum(bits.stats.cache_hits.values()))
"""


def test_a_changed_helper_in_another_file_recompiles_the_kernel(tmp_path):
    """The kernel's own file stays as it is, so Numba alone would run the old machine code."""
    package = tmp_path / "ffattn"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mine.py").write_text(KERNEL)
    one = 0x3F800000  # the bits of 1.0
    assert _run(tmp_path) == (one, 0)
    assert _run(tmp_path) == (one, 1)
    helper = package / "kernels" / "jit.py"
    old = "builder.bitcast(arguments[0], ir.IntType(32))"
    source = helper.read_text()
    assert old in source
    helper.write_text(source.replace(old, f"builder.add({old}, ir.IntType(32)(1))"))
    assert _run(tmp_path) == (one + 1, 0)


def _run(folder):
    """What the kernel gave, and how often its code came from disk."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    words = subprocess.run(
        [sys.executable, "mine.py"], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout.split()
    return tuple(int(word) for word in words)


@pytest.mark.parametrize("module", [jit, simd, cpu, rng_cpu])
def test_every_kernel_and_what_it_calls_is_among_the_sources(module):
    """Whatever compiled code is made from is in a file that the folder's name depends on."""
    sources = {str(PACKAGE / source) for source in jit._SOURCES}
    kernels = [value for value in vars(module).values() if hasattr(value, "py_func")]
    called = {name for kernel in kernels for name in kernel.py_func.__code__.co_names}
    functions = [getattr(vars(module).get(name), "py_func", vars(module).get(name)) for name in called]
    files = {inspect.getsourcefile(kernel.py_func) for kernel in kernels}
    files |= {inspect.getsourcefile(function) for function in functions if inspect.isfunction(function)}
    assert files <= sources


def test_code_of_another_compiler_is_not_used(monkeypatch):
    before = jit.compiled_folder()
    monkeypatch.setattr(jit.llvmlite, "__version__", "another")
    assert jit.compiled_folder.__wrapped__() != before


def test_other_peoples_functions_stay_where_numba_puts_them():
    before = jit.config.CACHE_DIR
    jit.kernel(lambda x: x)
    assert before == jit.config.CACHE_DIR


def test_a_package_that_cannot_be_written_compiles_into_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(jit, "_is_writable", lambda folder: False)
    monkeypatch.setattr(jit.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(jit.compiled_folder.__wrapped__()).parent == tmp_path
