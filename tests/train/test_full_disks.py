"""A disk that is full, or gone: one line, and what was saved is whole; or the run goes on without curves."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from tiny_runs import about, before_each_step, fit, overrides_of, snapshot

from ffattn.errors import TrainingError
from ffattn.lightning.loggers.csv_file import CSVFileLogger
from tests.pairwise import few

MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]
SMALL = """mkdir disk && mount -t tmpfs -o size={}k tmpfs disk && {} -m ffattn.train {}
status=$?; cp -r disk kept; exit $status"""
OPTIONS = {"updates": 3000, "trainer__log_every": 1, "trainer__validate_every": 200, "trainer__stop_when_solved": False}
AS_ANYONE = [] if os.getuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]  # root may write anywhere


def can_run(*command):
    try:
        return not subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    except OSError:
        return False


def train_on_a_disk(folder, kilobytes, **options):
    """Train in a process of its own, on a file system of a size; what it left is copied to `kept`."""
    arguments = [*overrides_of(OPTIONS | options), "hydra.run.dir=disk/run", "accelerator.num_threads=1"]
    script = SMALL.format(kilobytes, sys.executable, " ".join(arguments))
    return subprocess.run(
        [*MOUNT, "sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


needs_a_disk = pytest.mark.skipif(not can_run(*MOUNT), reason="no file system can be mounted here")


@needs_a_disk
@pytest.mark.parametrize("logger", few(["none", "csv", "tensorboard"], 1))
def test_a_full_disk_ends_a_run_with_one_line(tmp_path, logger):
    size = {"none": 48, "csv": 150, "tensorboard": 150}[logger]  # without curves it is checkpoints that do not fit
    done = train_on_a_disk(tmp_path, size, logger=logger)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("ffattn: compiling")]
    assert "No space left on device" in line
    for path in (tmp_path / "kept" / "run" / "checkpoints").glob("*.ckpt"):
        torch.load(path, weights_only=True)
    assert not list(tmp_path.glob("kept/run/**/*.part"))


@pytest.mark.parametrize("method", ["__init__", "log_metrics", "save", "finalize"])
def test_curves_may_be_given_up(tmp_path, monkeypatch, capsys, method):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVFileLogger, method, fail)
    run = fit(tmp_path / "run", logger="csv", logger__on_error="ignore", trainer__log_every=1)
    assert run.result["updates"] == 2
    message = f"{tmp_path / 'run'}: logger=csv cannot write curves: No space left on device; going on without\n"
    assert capsys.readouterr().err == message
    with pytest.raises(
        TrainingError, match=r"No space left on device; the last checkpoint is whole; logger\.on_error="
    ):
        fit(tmp_path / "other", logger="csv", trainer__log_every=1)


def lose_at(folder, update, patch):
    """The run's directory is gone at an update, and a file is in its place."""

    def lose(module, batch):
        if module.global_step == update - 1:
            shutil.move(folder, folder.with_name("moved"))
            folder.write_text("")
        return batch

    before_each_step(patch, lose)


@pytest.mark.parametrize("logger", ["none", "csv", "tensorboard"])
def test_a_folder_that_vanishes_ends_a_run_with_one_line(tmp_path, monkeypatch, logger):
    lose_at(tmp_path / "run", 6, monkeypatch)
    with pytest.raises(
        TrainingError,
        match=r"^\S+/run\S*: (logger=\w+ )?cannot [^\n]*: (Not a|No such file or) directory; [^\n]*whole[^\n]*$",
    ):
        fit(tmp_path / "run", updates=9, trainer__validate_every=4, trainer__log_every=1, logger=logger)
    assert about(tmp_path / "moved")["update"] == 4


@pytest.mark.slow
@pytest.mark.skipif(not can_run(*AS_ANYONE), reason="nothing is read-only for root")
@pytest.mark.parametrize(
    ("folder", "reason"), few([("run", "cannot be written to"), ("run/checkpoints", "Permission denied")], 1)
)
def test_a_read_only_folder_ends_a_run_with_one_line(tmp_path, folder, reason):
    fit(tmp_path / "run", **OPTIONS | {"updates": 6})
    arguments = [*overrides_of(OPTIONS | {"updates": 9}), f"hydra.run.dir={tmp_path / 'run'}", "resume=last"]
    command = [*AS_ANYONE, sys.executable, "-m", "ffattn.train", *arguments]
    before = snapshot(tmp_path / "run" / "checkpoints")
    (tmp_path / folder).chmod(0o500)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    (tmp_path / folder).chmod(0o700)
    assert done.returncode == 1
    assert re.fullmatch(rf"[^\n]*{reason}[^\n]*\n", done.stderr)
    assert snapshot(tmp_path / "run" / "checkpoints") == before
