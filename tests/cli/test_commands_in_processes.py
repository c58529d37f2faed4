"""The real commands, in processes and a directory of their own. Each costs seconds, so each test asks for much."""

import json
import os
import re
import subprocess
import sys
from textwrap import dedent

import pytest
from cli_files import snapshot

pytestmark = pytest.mark.cli

SMALL = ["T=12", "batch_size=4", "updates=2", "trainer.validate_every=2", "trainer.sequences=10", "accelerator=cpu"]
TASK = """
    from dataclasses import dataclass
    from typing import ClassVar

    import torch

    from ffattn.tasks.batch import Batch
    from ffattn.models import Answer, Model, Network
    from ffattn.settings import setting
    from ffattn.rng.streams import Grid
    from ffattn.tasks import Classification


    @dataclass
    class FirstBit(Classification):
        feature_names: ClassVar = ("bit",)
        num_outputs: ClassVar = 2
        min_length: ClassVar = 1

        def sample(self, window):
            bits, first_step = Grid(0, 2, levels=2), torch.zeros(len(window.lengths), 1, dtype=torch.long)
            first = window.values_at(0, bits, first_step)[:, 0].long()
            return Batch(window.values(0, bits), window.lengths, first, first_step)


    class SumNetwork(Network):
        def __init__(self, sizes, scale):
            super().__init__()
            self.output, self.scale = torch.nn.Linear(sizes.num_features, sizes.num_outputs), scale

        def forward(self, x, lengths, return_weights=False):
            return Answer(self.output(self.scale * x.sum(dim=1)))


    @dataclass
    class Sum(Model):
        scale: float = setting(1.0, above=0)

        def build(self, sizes):
            return SumNetwork(sizes, self.scale)
"""


def run(module, *arguments, cwd):
    """Run `python -m ffattn.<module>` as a person would, with nothing of the tests' own environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HYDRA", "PYTHON"))}
    command = [sys.executable, "-W", "default", "-m", f"ffattn.{module}", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def result(folder):
    return json.loads((folder / "result.json").read_text())


def assert_clean(done):
    """It worked, and there is nothing on stderr but lines of progress; the first run on a machine also compiles."""
    assert done.returncode == 0, done.stderr
    progress = (
        r"\[\d/\d\] .*: done|update +\d+ of at most|ffattn: compiling kernels for this CPU \(up to a minute, once\)$"
    )
    assert [line for line in done.stderr.splitlines() if not re.match(progress, line)] == []


@pytest.mark.slow
def test_train_then_evaluate_from_any_directory(tmp_path):
    trained = run("train", *SMALL, "task=multiply", "hydra.run.dir=mine", cwd=tmp_path)
    assert_clean(trained)
    assert trained.stderr.count("update ") >= 1
    for part in ("multiply, T=12", "parameters", "baseline", "tensorboard --logdir"):
        assert part in trained.stdout
    files = {path for path in snapshot(tmp_path / "mine") if ".hydra/" not in path}
    assert files >= {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "result.json"}
    assert sum("tfevents" in path for path in files) >= 1

    checkpoint = "checkpoint=mine/checkpoints/best.ckpt"
    evaluated = run("evaluate", checkpoint, "T=20", "sequences=20", "hydra.run.dir=other", cwd=tmp_path)
    assert_clean(evaluated)
    assert (result(tmp_path / "other")["T"], result(tmp_path / "other")["sequences"]) == (20, 20)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "other"}


def test_help_is_help_and_a_mistake_is_one_line(tmp_path):
    asked = run("train", "--help", cwd=tmp_path)
    assert (asked.returncode, asked.stderr) == (0, "")
    for part in ("task=multiply model=ffattn T=10000", "temporal_order_2", "tolerance"):
        assert part in asked.stdout
    mistaken = run("train", "task=multipy", cwd=tmp_path)
    assert (mistaken.returncode, mistaken.stdout) == (1, "")
    assert mistaken.stderr.startswith("task=multipy: no such choice; did you mean multiply?")
    assert mistaken.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def mine(tmp_path):
    """A stranger's task and model, in files outside the package."""
    for name, text in {
        "mine.py": dedent(TASK),
        "conf/task/first_bit.yaml": "_target_: mine.FirstBit\n",
        "conf/model/sum.yaml": "_target_: mine.Sum\nscale: 0.1\n",
    }.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.slow
def test_a_strangers_task_and_model_are_swept_and_evaluated(mine):
    own = ["--config-dir", "mine/conf"]
    options = ["task=first_bit", "model=sum", "hydra.sweep.dir=sweep", "logger=none", "model.scale=0.1,0.2"]
    swept = run("train", *own, "-m", *SMALL, *options, cwd=mine)
    assert_clean(swept)
    jobs = [result(mine / "sweep/first_bit_sum/T12" / name) for name in ("scale0.1", "scale0.2")]
    assert [job["settings"]["model"]["scale"] for job in jobs] == [0.1, 0.2]
    assert [(job["task"], job["model"]) for job in jobs] == [("first_bit", "sum")] * 2

    together = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    again = run("train", *own, "-m", *SMALL, *together, *options, "seed=0,1", "hydra.sweep.dir=other", cwd=mine)
    assert_clean(again)
    for job, scale in zip(jobs, ("0.1", "0.2"), strict=True):
        assert result(mine / f"other/first_bit_sum/T12/scale{scale}_seed0")["val"] == job["val"]

    checkpoint = "checkpoint=sweep/first_bit_sum/T12/scale0.2/checkpoints/best.ckpt"
    refused = run("evaluate", *own, checkpoint, cwd=mine)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "trust" in refused.stderr
    options = ["trust=mine", "length=paper", "sequences=10", "hydra.run.dir=evaluated"]
    assert_clean(run("evaluate", *own, checkpoint, *options, cwd=mine))
    for name in "accuracy", "error":
        assert result(mine / "evaluated")["test"][name] == pytest.approx(jobs[1]["test"][name])
