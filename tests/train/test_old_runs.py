"""A run of an earlier version is read, evaluated and continued as that version would have done.

`data/run_of_format_1` is what the code before format 2 wrote: `task=add T=50 model.hidden=4`, 50 updates.
`expected.json` is what the same code then made of it: predictions, an evaluation, the run continued to 100 updates.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_runs import fit, read, rows

import ffattn
from ffattn.inference.checkpoint import read as read_checkpoint
from ffattn.inference.checkpoint_files import KEY
from ffattn.lightning.callbacks.validations import HISTORY

OLD = Path(__file__).parents[1] / "data" / "run_of_format_1"
EXPECTED = json.loads((OLD / "expected.json").read_text())
RENAMED = {"solved": "accuracy", "mass": "attention_mass", "steps": "effective_steps"}
CLOSE = {"rel": 1e-4, "abs": 1e-6}  # other processors round otherwise
OPTIONS = {"T": 50, "batch_size": 10, "trainer__validate_every": 20, "trainer__sequences": 50}


def renamed(metrics):
    return {RENAMED.get(name, name): value for name, value in metrics.items()}


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(OLD, tmp_path / "run")


def assert_same_metrics(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, **CLOSE), name


def test_predictions_are_those_of_the_version_that_wrote_it():
    trained = ffattn.load(OLD / "checkpoints" / "best.ckpt")
    batch = trained.task.example(4)
    predictions = trained.predict(batch.x, batch.lengths)
    torch.testing.assert_close(predictions, torch.tensor(EXPECTED["predictions"]), rtol=1e-5, atol=1e-6)
    assert_same_metrics(trained.evaluate(sequences=100), renamed(EXPECTED["evaluation"]))


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_is_read_under_the_present_names(name):
    about = read_checkpoint(OLD / "checkpoints" / f"{name}.ckpt")[KEY]
    before = torch.load(OLD / "checkpoints" / f"{name}.ckpt", weights_only=True)[KEY]
    assert (before["format"], about["format"]) == (1, 2)
    assert (about["best"], about["history"]) == (renamed(before["best"]), renamed(before["history"]))
    others = about.keys() - {"format", "best", "history"}
    assert {key: about[key] for key in others} == {key: before[key] for key in others}


def test_the_run_goes_on_and_ends_as_it_would_have(run):
    more = fit(run, **OPTIONS, updates=100, resume="last", logger="csv")
    last = read(run)
    for name, weights in EXPECTED["weights_after_100_updates"].items():
        torch.testing.assert_close(last["state_dict"][name], torch.tensor(weights), rtol=1e-3, atol=1e-5)
    assert last[KEY]["format"] == 2
    assert_same_metrics(last[KEY]["best"], renamed(EXPECTED["best_after_100_updates"]))
    assert_same_metrics(last[KEY]["history"], renamed(EXPECTED["history_after_100_updates"]))
    assert tuple(last[KEY]["history"]) == HISTORY
    test = {name: value for name, value in more.result["test"].items() if name != "baseline"}
    assert_same_metrics(
        test, {name: value for name, value in renamed(EXPECTED["test_after_100_updates"]).items() if name != "floor"}
    )
    assert (more.result["format"], more.result["updates"], more.result["solved"]) == (2, 100, False)
    assert [row["step"] for row in rows(run)] == [60, 80, 100]


def test_a_finished_run_is_not_made_again(run):
    before = (run / "result.json").read_bytes()
    result = fit(run, **OPTIONS, updates=50, resume="last").result
    assert (result["format"], result["solved"], result["updates_to_solve"]) == (2, False, None)
    assert result["val"]["accuracy"] == json.loads(before)["val"]["solved"]
    assert (run / "result.json").read_bytes() == before


def test_a_finished_run_without_checkpoints_is_known_as_well(run):
    shutil.rmtree(run / "checkpoints")
    assert fit(run, **OPTIONS, updates=50, resume="last").result["updates"] == 50
