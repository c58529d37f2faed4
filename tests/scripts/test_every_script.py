"""Every script finds what it imports, and says what it is for."""

import importlib
from pathlib import Path

import pytest

SCRIPTS = sorted(path.stem for path in Path(__file__).parents[2].joinpath("scripts").glob("*.py"))

NEEDED = {"gpu_kernels": "triton", "mutants": "cosmic_ray"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_imported(name):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    assert importlib.import_module(f"scripts.{name}").__doc__
