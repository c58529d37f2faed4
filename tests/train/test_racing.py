"""Learning rates race: a run stops once another rate beside it has solved the task in as few updates."""

import json
import shutil

import pytest
from tiny_runs import about, fit

SOLVED = {"task__tolerance": 10}  # at the first validation
RACE = {"trainer__race": True, "trainer__validate_every": 1, "updates": 6}


@pytest.fixture(scope="module")
def finished_at_another_rate(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("finished") / "run", **RACE, optim__lr=0.01)


@pytest.fixture
def rival(finished_at_another_rate):
    """Put a finished run into a folder, which solved the task after two updates; some of its `result.json` changed."""

    def put(folder, **changes):
        run = finished_at_another_rate
        settings = json.loads(json.dumps(run.result["settings"]))
        for key, value in changes.pop("settings", {}).items():
            group, _, name = key.rpartition(".")
            (settings[group] if group else settings)[name] = value
        result = run.result | {"updates": 2, "stopped_because": "solved", "settings": settings} | changes
        shutil.copytree(run.folder, folder)
        (folder / "result.json").write_text(json.dumps(result))

    return put


def test_a_run_stops_when_it_has_used_as_many_updates_as_the_best(tmp_path, rival):
    rival(tmp_path / "a")
    run = fit(tmp_path / "b", **RACE)
    assert (run.result["stopped_because"], run.result["updates"]) == ("raced", 2)
    assert about(run.folder)["stopped_because"] == "raced"


@pytest.mark.parametrize(
    "changes",
    [
        {"stopped_because": "raced"},
        {"stopped_because": "updates"},
        {"updates": 7},
        {"settings": {"seed": 1}},
        {"settings": {"batch_size": 5}},
        {"settings": {"trainer.gradient_clip": 0.1}},
        {"settings": {"optim.betas": [0.5, 0.9]}},
        {"settings": {"optim.lr": 0.003}},
    ],
    ids=str,
)
def test_it_races_with_other_rates_that_have_solved_the_same_and_nothing_else(tmp_path, rival, changes):
    rival(tmp_path / "a", **changes)
    assert fit(tmp_path / "b", **RACE).result["stopped_because"] == "updates"


def test_without_a_race_it_goes_on(tmp_path, rival):
    rival(tmp_path / "a")
    assert fit(tmp_path / "b", **RACE | {"trainer__race": False}).result["updates"] == 6


def test_a_damaged_result_beside_it_is_no_rival(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text("{")
    assert fit(tmp_path / "b", **RACE).result["updates"] == 6


def test_solving_it_in_the_same_updates_is_no_loss(tmp_path, rival):
    rival(tmp_path / "a", settings={"task.tolerance": 10.0})
    run = fit(tmp_path / "b", **RACE | SOLVED)
    assert (run.result["stopped_because"], run.result["updates"]) == ("solved", 1)


def test_a_run_that_was_raced_is_finished_as_long_as_it_races(tmp_path, rival):
    rival(tmp_path / "a")
    fit(tmp_path / "b", **RACE)
    again = fit(tmp_path / "b", **RACE, resume="last")
    assert (again.result["stopped_because"], again.result["updates"]) == ("raced", 2)
    alone = fit(tmp_path / "b", **RACE | {"trainer__race": False}, resume="last")
    assert (alone.result["stopped_because"], alone.result["updates"]) == ("updates", 6)


def test_a_run_that_was_cut_off_learns_of_the_best_when_it_goes_on(tmp_path, rival):
    fit(tmp_path / "b", **RACE | {"updates": 3})
    (tmp_path / "b" / "result.json").unlink()
    rival(tmp_path / "a")
    run = fit(tmp_path / "b", **RACE, resume="last")
    assert (run.result["stopped_because"], run.result["updates"]) == ("raced", 4)
