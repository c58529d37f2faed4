"""Sweeps by submitit, with programs in the place of Slurm's, and searches by Optuna."""

import json
import os
from pathlib import Path

import pytest
from cli_files import TINY

from tests.pairwise import few

pytestmark = pytest.mark.cli

# runs the array's tasks at once, in the background, as Slurm's nodes would
SBATCH = """#!/bin/bash
script="${@: -1}"
cp "$script" "$(dirname "$0")/script"
for i in 0 1; do
  (
    export SLURM_JOB_ID=$((78 + i)) SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$i SLURM_JOB_NODELIST=here
    export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_NNODES=1 SLURM_JOB_NUM_NODES=1
    export SLURM_STEP_NUM_TASKS=1 SLURM_STEP_NUM_NODES=1
    bash "$script"
    echo "$?" > "$(dirname "$0")/status_$i"
  ) > "$(dirname "$0")/output_$i" 2>&1 < /dev/null &
done
echo "Submitted batch job 77"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do [[ $1 == --unbuffered ]] && shift || shift 2; done
exec "$@"
"""
# a job that has died must not be waited for
SACCT = """#!/bin/bash
echo "JobID|State|NodeList"
for i in 0 1; do
  state=RUNNING
  [[ -s "$(dirname "$0")/status_$i" ]] && state=COMPLETED
  echo "77_$i|$state|here"
done
"""
SCONTROL = "#!/bin/bash\necho here\n"


@pytest.fixture
def slurm(workplace, monkeypatch):
    """A folder of programs that take the place of Slurm's."""
    folder = workplace / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("launcher", few(["slurm", "local"]))
def test_a_sweep_by_submitit_is_a_sweep(command, workplace, slurm, launcher):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    options = (f"hydra/launcher=submitit_{launcher}", "hydra.sweep.dir=sweep", "hydra.launcher.timeout_min=600")
    more = ("hydra.launcher.partition=fast", "hydra.launcher.cpus_per_task=3") if launcher == "slurm" else ()
    done = command("train", "-m", *TINY, *options, *more, "seed=0,1")
    assert done.status == 0, done.err
    assert "2 jobs, 0 failed" in done.out
    seeds = [json.loads(path.read_text())["seed"] for path in sorted(Path("sweep").rglob("result.json"))]
    assert seeds == [0, 1]
    if launcher == "slurm":
        script = (slurm / "script").read_text().splitlines()
        asked = {"array=0-1%2", "cpus-per-task=3", "nodes=1", "ntasks-per-node=1", "partition=fast", "time=600"}
        assert {f"#SBATCH --{option}" for option in asked} <= set(script)


@pytest.mark.filterwarnings("default")  # Optuna 2.10 uses what later packages warn of
def test_a_search_keeps_what_it_found(command, workplace):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    options = ("sweep=learning_rate", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=search")
    done = command("train", *TINY, *options)
    assert done.status == 0, done.err
    assert "3 jobs, 0 failed" in done.out
    results = [json.loads(path.read_text()) for path in Path("search").rglob("result.json")]
    rates = {result["val"]["error"]: result["settings"]["optim"]["lr"] for result in results}
    found = (workplace / "search" / "optimization_results.yaml").read_text()
    assert f"optim.lr: {rates[min(rates)]}" in found
    assert all(1e-4 <= rate <= 0.1 for rate in rates.values())
    again = command("train", *TINY, *options[:2], "hydra.sweep.dir=again")
    assert again.status == 0
    assert sorted(path.name for path in Path("search/add_ffattn/T12").iterdir()) == sorted(
        path.name for path in Path("again/add_ffattn/T12").iterdir()
    )
    assert "3 jobs, 0 finished" in command("plan", *TINY, *options).out
