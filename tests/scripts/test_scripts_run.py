"""The scripts that documents name run to their end, here on less than what they are for."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "benchmarks": "--only recurrent",
    "results.documents": "documents.parquet",
    "results.updates_to_solve": "--T 20 --seeds 2 model.hidden=4",
    "benchmarks.gpu_kernels": "",
    "results.keep_results": f"{ROOT}/docs/results/runs kept.jsonl",
    "checks.kills": "--kills 2",
    "benchmarks.larger_than_memory": "--gigabytes 0.07 --updates 5",
    "checks.plain_lightning": "",
    "benchmarks.pooling": "",
    "benchmarks.start": "--rounds 1 --only with",
    "benchmarks.precision": "--T 50 --updates 20 --validate-every 10 --accelerator cpu",
    "results.real_data": "table --data japanese_vowels --seeds 1 "
    "--models mean 'MiniRocket + ridge' '1-NN with time warping'",
    "benchmarks.several_processes": "--T 1000 --updates 3",
    "checks.soak": "--updates 300 --pause 0.5",
    "benchmarks.sweep_overhead": "--jobs 2 --updates 2",
    "docs.task_pictures": "pictures",
    "docs.weather": "weather.csv --weeks 30",
}
TAKE_LONGER = {
    "results.length_record",
    "checks.mutants",
    "benchmarks.stacked_launcher",
}  # minutes to hours, in any case
ON_OTHERS = {"checks.hydra_template"}  # needs a clone of what it tests
IMPORTED = {
    "benchmarks.meters",
    "benchmarks.operators",
    "benchmarks.steps",
    "docs.site_pages",
}  # by other scripts and by mkdocs


def test_every_script_is_run_here_or_takes_too_long():
    scripts = [path.relative_to(ROOT / "scripts").with_suffix("") for path in (ROOT / "scripts").rglob("*.py")]
    names = {".".join(script.parts).removesuffix(".__main__") for script in scripts}
    assert names == SMALL.keys() | TAKE_LONGER | ON_OTHERS | IMPORTED


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
