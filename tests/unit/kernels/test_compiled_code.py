"""Compiled code on disk is never older than any source that it was made from."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

import ffattn
from ffattn.kernels import jit

PACKAGE = Path(ffattn.__file__).parent
DECORATORS = {"kernel", "exact_kernel", "intrinsic"}
ONE = 0x3F800000  # the bits of 1.0
KERNEL = """
import numpy as np
from ffattn.kernels.jit import float_to_bits, kernel

@kernel
def bits(number):
    return float_to_bits(number)

print(bits(np.float32(1.0)), sum(bits.stats.cache_hits.values()))
"""


@pytest.fixture
def copy(tmp_path):
    """A function that copies the package into a new folder, with a kernel beside it; it returns the folder."""

    def make(name):
        shutil.copytree(PACKAGE, tmp_path / name / "ffattn", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / name / "mine.py").write_text(KERNEL)
        return tmp_path / name

    return make


def _change_a_helper(folder):
    """The kernel's own file stays as it is, so Numba alone would run the old machine code."""
    helper = folder / "ffattn" / "kernels" / "jit.py"
    old = "builder.bitcast(arguments[0], ir.IntType(32))"
    source = helper.read_text()
    assert old in source
    helper.write_text(source.replace(old, f"builder.add({old}, ir.IntType(32)(1))"))


def _run(folder, **variables):
    """What the kernel gave, and how often its code came from disk."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "mine.py"]
    environment |= variables
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return tuple(int(word) for word in done.stdout.split())


def test_a_changed_helper_in_another_file_recompiles_the_kernel(copy):
    folder = copy("one")
    assert _run(folder) == (ONE, 0)
    assert _run(folder) == (ONE, 1)
    _change_a_helper(folder)
    assert _run(folder) == (ONE + 1, 0)


@pytest.mark.slow
def test_two_checkouts_do_not_disturb_each_other_in_one_cache(copy, tmp_path):
    cache = str(tmp_path / "cache")
    one, other = copy("one"), copy("other")
    _change_a_helper(other)
    assert [_run(folder, NUMBA_CACHE_DIR=cache) for folder in (one, other)] == [(ONE, 0), (ONE + 1, 0)]
    assert [_run(folder, NUMBA_CACHE_DIR=cache) for folder in (one, other)] == [(ONE, 1), (ONE + 1, 1)]


def test_where_nothing_can_be_written_kernels_are_compiled_each_time(copy, tmp_path):
    folder = copy("one")
    no_folder = folder / "ffattn" / "__pycache__"
    no_folder.touch()
    for _ in range(2):
        assert _run(folder, XDG_CACHE_HOME=str(no_folder), NUMBA_CACHE_DIR=str(no_folder)) == (ONE, 0)


def _imports(tree):
    """Where each name that a file imports comes from."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module for node in nodes for alias in node.names}


def _names_behind_kernels(tree):
    """How many kernels and intrinsics a file has; names in these, and in the file's functions that they call."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    names = {name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} for name, node in functions.items()}
    decorated = {name for name, node in functions.items() if DECORATORS & {ast.unparse(d) for d in node.decorator_list}}
    reached, found = set(), set(decorated)
    while found:
        reached |= found
        found = set().union(*(names[name] for name in found)) & set(functions) - reached
    return len(decorated), set().union(*(names[name] for name in reached))


def _file_of(module):
    path = PACKAGE.parent / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def test_every_file_with_a_kernel_is_among_the_sources():
    sources = jit.kernel_sources()
    for path in PACKAGE.rglob("*.py"):
        modules = set(_imports(ast.parse(path.read_text())).values())
        if {"numba", "numba.extending", "ffattn.kernels.jit"} & modules:
            assert path in sources


def test_every_file_that_a_kernel_takes_code_or_numbers_from_is_among_the_sources():
    sources, count = jit.kernel_sources(), 0
    for path in sources:
        tree = ast.parse(path.read_text())
        kernels, names = _names_behind_kernels(tree)
        count += kernels
        for name, module in _imports(tree).items():
            if name in names and module.startswith("ffattn."):
                assert _file_of(module) in sources, (path, name)
    assert count > 80


def test_code_of_another_compiler_is_not_used(monkeypatch):
    before = jit.compiled_folder()
    monkeypatch.setattr(jit.llvmlite, "__version__", "another")
    assert jit.compiled_folder.__wrapped__() != before


def test_other_peoples_functions_stay_where_numba_puts_them():
    before = jit.config.CACHE_DIR
    jit.kernel(lambda x: x)
    assert before == jit.config.CACHE_DIR


def test_a_package_that_cannot_be_written_compiles_into_the_users_cache(tmp_path, monkeypatch):
    is_writable = jit._is_writable
    monkeypatch.setattr(jit, "_is_writable", lambda folder: PACKAGE not in folder.parents and is_writable(folder))
    monkeypatch.setattr(jit.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert Path(jit.compiled_folder.__wrapped__()).parent == tmp_path


def test_without_a_folder_numba_keeps_nothing(monkeypatch):
    monkeypatch.setattr(jit, "compiled_folder", lambda: None)
    before = jit.config.CACHE_DIR
    double = jit.kernel(lambda x: 2 * x)
    assert double(21) == 42
    assert not double.stats.cache_path
    assert before == jit.config.CACHE_DIR
