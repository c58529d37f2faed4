"""Which processes belong to a run, as torchrun and Slurm tell them."""

import pytest

from ffattn.system.ranks import World, world

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}
SRUN = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_NTASKS": "8"}


@pytest.fixture(autouse=True)
def _nothing_started(monkeypatch):
    for name in TORCHRUN | SRUN:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("variables", "starter"), [(TORCHRUN, "torchrun"), (SRUN, "srun")])
def test_a_process_knows_its_place(monkeypatch, variables, starter):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert world() == World(5, 8, 4, starter)


@pytest.mark.parametrize("left_over", [{"RANK": "1", "WORLD_SIZE": "2"}, {"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}])
def test_a_process_on_its_own_stays_so_whatever_else_is_set(monkeypatch, left_over):
    """A Slurm batch script has variables of its own, and other launchers leave some behind."""
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    assert world() == World(0, 1, 1, "")
