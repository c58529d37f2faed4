"""What TensorBoard finds in a run directory."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tiny_runs import equal, fit, read

TRAIN = {f"train/{name}" for name in ("loss", "solved", "lr", "updates_per_second")}
FINAL = {f"{split}/{name}" for split in ("val", "test") for name in ("solved", "error")}

ATTENTION = {f"attention/{name}" for name in ("dead", "mass", "lift", "found", "steps", "margin")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard") / "run"
    return fit(folder, logger="tensorboard", updates=6, trainer__log_every=3, trainer__validate_every=4)


@pytest.fixture(scope="module")
def events(run):
    return EventAccumulator(str(run.folder)).Reload()


def steps(events, tag):
    return [scalar.step for scalar in events.Scalars(tag)]


def test_every_curve_is_there(events):
    assert set(events.Tags()["scalars"]) >= TRAIN | FINAL | ATTENTION


def test_there_is_no_curve_that_nobody_asked_for(events):
    assert set(events.Tags()["scalars"]) - TRAIN - FINAL <= ATTENTION | {"epoch"}


@pytest.mark.parametrize("tag", sorted(TRAIN))
def test_training_is_logged_at_every_so_many_updates(events, tag):
    assert steps(events, tag) == [3, 6]


@pytest.mark.parametrize("tag", ["val/solved", "val/error", *sorted(ATTENTION)])
def test_validations_are_logged_at_their_updates(events, tag):
    assert steps(events, tag) == [4, 6]


def test_the_logged_numbers_are_those_of_the_result(run, events):
    for name in ("solved", "error"):
        assert events.Scalars(f"test/{name}")[-1].value == pytest.approx(run.result["test"][name])
        values = [scalar.value for scalar in events.Scalars(f"val/{name}")]
        assert any(value == pytest.approx(run.result["val"][name]) for value in values)


def test_the_learning_rate_is_the_one_that_was_set(events):
    assert [scalar.value for scalar in events.Scalars("train/lr")] == pytest.approx([0.003, 0.003])


def hparams(events):
    """The hyperparameter plugin's messages, by the tag under which it looks for them."""
    contents = events.summary_metadata if hasattr(events, "summary_metadata") else {}
    found = {tag: data.plugin_data.content for tag, data in contents.items() if "_hparams_" in tag}
    return {tag: HParamsPluginData.FromString(content) for tag, content in found.items()}


def test_the_hparams_tab_has_every_setting(run, events):
    started = hparams(events)["_hparams_/session_start_info"].session_start_info.hparams
    assert started["optim/lr"].number_value == pytest.approx(0.003)
    assert started["task/_target_"].string_value == "ffattn.tasks.Add"
    assert started["T"].number_value == run.result["T"]


def test_the_hparams_tab_has_the_final_metrics(events):
    experiment = hparams(events)["_hparams_/experiment"].experiment
    assert {metric.name.tag for metric in experiment.metric_infos} == FINAL


def pictures_of(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"]}


def test_pictures_are_there_at_every_so_many_validations_and_at_the_last(tmp_path):
    run = fit(tmp_path / "run", logger="tensorboard", updates=5, trainer__validate_every=1, trainer__pictures=2)
    names = ("sequence", "answers", "lengths", "heat_map", "score_function")
    assert pictures_of(run.folder) == {f"pictures/{name}": [2, 4, 5] for name in names}


def test_pictures_change_nothing_of_the_run(tmp_path):
    options = {"logger": "tensorboard", "updates": 4, "model": "lstm_attention"}
    plain, drawn = fit(tmp_path / "a", **options), fit(tmp_path / "b", **options, trainer__pictures=1)
    assert equal(read(plain.folder)["state_dict"], read(drawn.folder)["state_dict"])
    assert plain.result["val"] == drawn.result["val"]
    assert not pictures_of(plain.folder)
