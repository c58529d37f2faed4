"""Sweeps by Ray, on this machine and on a cluster that has been started: `make test-ray`, which installs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_commands_in_processes import SMALL, assert_clean, run

pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="Ray is not installed; make test-ray brings it")
pytestmark = pytest.mark.cli
RAY = ["hydra/launcher=ray", *SMALL, "seed=0,1", "logger=none"]


def scores(folder):
    """What each job of a sweep found."""
    results = sorted(folder.rglob("result.json"))
    return [json.loads(path.read_text())["val"] for path in results]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of this machine, and how a command reaches it."""
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    ray = Path(sys.executable).with_name("ray")
    address = "127.0.0.1:6399"
    options = ["--head", "--port=6399", "--num-cpus=2", "--include-dashboard=false"]
    subprocess.run([ray, "start", *options], check=True, capture_output=True)
    yield [f"hydra.launcher.ray.init.address={address}", "+hydra.launcher.ray.init.object_store_memory=null"]
    subprocess.run([ray, "stop", "--force"], check=True, capture_output=True)


def test_a_sweep_on_this_machine_is_the_one_without_ray(tmp_path):
    plain = run("train", "-m", *SMALL, "seed=0,1", "logger=none", "hydra.sweep.dir=plain", cwd=tmp_path)
    assert_clean(plain)
    local = run("train", "-m", *RAY, "+hydra.launcher.ray.init.num_cpus=2", "hydra.sweep.dir=ray", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    assert len(scores(tmp_path / "ray")) == 2
    assert scores(tmp_path / "ray") == scores(tmp_path / "plain")


def test_a_cluster_by_its_address_and_a_job_that_fails(tmp_path, cluster):
    options = ["optim=sgd", "optim.lr=0.003,1e30", "hydra.sweep.dir=ray"]
    swept = run("train", "-m", *RAY, *cluster, *options, cwd=tmp_path)
    assert swept.returncode == 1
    assert "4 jobs, 2 failed" in swept.stderr + swept.stdout
    assert len(scores(tmp_path / "ray")) == 2
