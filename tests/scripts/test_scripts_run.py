"""The scripts that documents name run to their end, here on less than what they are for."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "benchmark": "--only recurrent",
    "documents": "documents.parquet",
    "epochs": "--T 20 --seeds 2 model.hidden=4",
    "gpu_kernels": "",
    "keep_results": f"{ROOT}/docs/results/runs/lstm kept",
    "kills": "--kills 2",
    "larger_than_memory": "--gigabytes 0.07 --updates 5",
    "plain_lightning": "",
    "pooling": "",
    "precision": "--T 50 --updates 20 --validate-every 10 --accelerator cpu",
    "real_data": "table --data japanese_vowels --seeds 1 --models mean 'MiniRocket + ridge' '1-NN with time warping'",
    "several_processes": "--T 1000 --updates 3",
    "soak": "--updates 300 --pause 0.5",
    "sweep_overhead": "--jobs 2 --updates 2",
    "task_pictures": "pictures",
    "weather": "weather.csv --weeks 30",
}
TAKE_LONGER = {"length_record", "mutants", "stacked"}  # minutes to hours, in any case
ON_OTHERS = {"hydra_template"}  # needs a clone of what it tests
IMPORTED = {"benchmark_steps", "clock", "site_pages"}  # by other scripts and by mkdocs


def test_every_script_is_run_here_or_takes_too_long():
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == SMALL.keys() | TAKE_LONGER | ON_OTHERS | IMPORTED


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_script_runs_to_its_end(tmp_path, name):
    command = [sys.executable, "-m", f"scripts.{name}", *shlex.split(SMALL[name])]
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or list(tmp_path.iterdir())
