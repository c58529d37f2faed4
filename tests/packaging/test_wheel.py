"""The wheel: it carries what it needs, and works from another environment and another directory."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.packaging

ROOT = Path(__file__).parents[2]
CONF = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml"))
LAUNCHER = "hydra_plugins/ffattn_launcher/__init__.py"
# of a model whose kernels do not take half a minute to compile
SMALL = "model=lstm", "T=12", "batch_size=4", "updates=1", "trainer.sequences=10", "logger=none", "accelerator=cpu"
WHERE = "import ffattn, ffattn.config.paths as paths; print(ffattn.__file__, paths.conf_dir(), sep='\\n')"


def run(*command, cwd):
    """Run a command that must succeed, without the tests' own Python settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HYDRA", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=ROOT)
    return next(folder.glob("ffattn-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The folder of commands of a fresh environment that has the wheel, and finds its dependencies in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    target = ["--python", folder / "bin" / "python"]
    run(
        sys.executable,
        "-m",
        "pip",
        *target,
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--force-reinstall",
        wheel,
        cwd=folder,
    )
    return folder / "bin"


def test_the_wheel_carries_what_it_needs(wheel):
    templates = (f"figures/templates/{name}" for name in ("page.html", "parts.html", "style.css"))
    needed = {LAUNCHER, *(f"ffattn/{path}" for path in ("py.typed", "train.py", *templates, *CONF))}
    assert needed - set(zipfile.ZipFile(wheel).namelist()) == set()


def test_the_wheel_carries_nothing_else(wheel):
    tops = {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ffattn", "hydra_plugins"}


def test_the_wheel_names_its_commands_and_its_licence(wheel):
    archive = zipfile.ZipFile(wheel)
    texts = {
        name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name
    }
    assert "ffattn-train = ffattn.train:main" in texts["entry_points.txt"]
    assert "ffattn-evaluate = ffattn.evaluate:main" in texts["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in texts["METADATA"]
    assert "licenses/LICENSE" in texts


def test_the_installed_package_uses_its_own_files(environment, tmp_path):
    package, conf = run(environment / "python", "-c", WHERE, cwd=tmp_path).stdout.split()
    assert Path(package).is_relative_to(environment.parent)
    assert conf == str(Path(package).parent / "conf")


def test_the_installed_command_helps(environment, tmp_path):
    asked = run(environment / "ffattn-train", "--help", cwd=tmp_path)
    assert "temporal_order_3" in asked.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_installed_package_trains(environment, tmp_path):
    run(environment / "python", "-m", "ffattn.train", *SMALL, "hydra.run.dir=mine", cwd=tmp_path)
    result = json.loads((tmp_path / "mine" / "result.json").read_text())
    assert (result["updates"], result["commit"]) == (1, None)


@pytest.mark.slow
def test_the_installed_package_brings_its_launcher(environment, tmp_path):
    sweep = ["-m", "hydra/launcher=stacked", "hydra.sweep.dir=mine", "seed=0,1"]
    done = run(environment / "ffattn-train", *sweep, *SMALL, cwd=tmp_path)
    assert "hydra/launcher=stacked: model=lstm" in done.stderr  # which is trained alone
    assert len(list(tmp_path.rglob("result.json"))) == 2


def test_two_builds_are_the_same_bytes(wheel, tmp_path):
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, cwd=ROOT)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()
