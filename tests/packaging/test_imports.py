"""What importing the package costs: every module imports, and the core stays a plain PyTorch library."""

import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

import ffattn

ABSENT = set() if find_spec("aeon") else {"ffattn.aeon"}  # of an extra that make test-peers has
MODULES = sorted({module.name for module in pkgutil.walk_packages(ffattn.__path__, "ffattn.")} - ABSENT)
HEAVY = {"torch", "hydra", "omegaconf", "lightning", "pytorch_lightning", "tensorboard"}
SCRIPT = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(list(sys.modules)))
"""

IN_TURN = """
import importlib, json, sys
first, *others = sys.argv[1:]
for names in ([first], others):
    for name in names:
        importlib.import_module(name)
    print(json.dumps(list(sys.modules)))
"""


def imported_by(*modules):
    """The heavy packages that a fresh process has after importing some modules."""
    command = [sys.executable, "-c", SCRIPT, *modules]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stdout))


def test_modules_are_found():
    assert {"ffattn.train", "ffattn.nn.attention", "ffattn.config.schema", "ffattn.lightning.data"} <= set(MODULES)


def test_every_module_imports_and_training_knows_no_hydra():
    command = [sys.executable, "-c", IN_TURN, "ffattn.lightning", *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    training, everything = (set(json.loads(line)) for line in done.stdout.splitlines())
    assert training & {"hydra", "omegaconf"} == set()
    assert everything >= {"torch", "hydra", "lightning"}


@pytest.mark.parametrize(
    ("modules", "needed"),
    [
        (["ffattn"], set()),
        (["ffattn.train", "ffattn.evaluate"], {"hydra", "omegaconf"}),
        (["ffattn.nn", "ffattn.tasks", "ffattn.models", "ffattn.inference.checkpoint"], {"torch"}),
    ],
    ids=["package", "commands", "core"],
)
def test_nothing_heavy_is_imported_that_is_not_needed(modules, needed):
    assert imported_by(*modules) == needed


@pytest.mark.parametrize("name", ["fit", "load", "nn", "tasks", "models", "lightning"])
def test_the_package_offers_its_parts(name):
    assert getattr(ffattn, name) is not None


def test_what_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = ffattn.nothing
