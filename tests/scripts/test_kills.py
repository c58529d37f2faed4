"""A handful of kills; `make kills` makes a hundred, over every pair of a task and a model."""

import os
import subprocess
import sys

import pytest

from scripts.checks import kills


@pytest.mark.slow
@pytest.mark.signals
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_run_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
    """In a process without threads, which do not survive a fork."""
    program = (
        "import random, sys, pathlib, torch; from scripts.checks import kills; torch.set_num_threads(1); "
        "print(kills.kill_and_compare(['task=xor', 'model=ffattn'], 5, random.Random(1), pathlib.Path(sys.argv[1])))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_what_differs_is_named(tmp_path):
    for seed, name in enumerate("ab"):
        kills.train([f"seed={seed}", "updates=10"], tmp_path / name)
    found = kills.differences(tmp_path / "a", tmp_path / "b")
    assert {"last.ckpt: state_dict", "best.ckpt: optimizer_states", "val", "test", "metrics.csv"} <= set(found)
    assert kills.differences(tmp_path / "a", tmp_path / "a") == []
