"""Every script finds what it imports, and says what it is for."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "scripts"
SCRIPTS = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.rglob("*.py"))
NEEDED = {"benchmarks.gpu_kernels": "triton", "checks.mutants": "cosmic_ray"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_imported(name):
    if name in NEEDED:
        pytest.importorskip(NEEDED[name])
    assert importlib.import_module(f"scripts.{name}").__doc__


def test_the_list_of_scripts_names_every_one():
    listed = re.findall(r"^\| `([\w.]+)` \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == [name.removesuffix(".__main__") for name in SCRIPTS]
