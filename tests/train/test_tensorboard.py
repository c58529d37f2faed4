"""What TensorBoard finds in a run directory."""

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tiny_runs import equal, fit, read

from ffattn.figures import record as records
from tests.pairwise import few

TRAIN = {f"train/{name}" for name in ("loss", "accuracy", "lr", "updates_per_second")}
FINAL = {f"{split}/{name}" for split in ("val", "test") for name in ("accuracy", "error")}

ATTENTION = {f"attention/{name}" for name in ("dead", "mass", "lift", "found", "effective_steps", "margin")}


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


@pytest.mark.parametrize("tag", ["val/accuracy", "val/error", *sorted(ATTENTION)])
def test_validations_are_logged_at_their_updates(events, tag):
    assert steps(events, tag) == [4, 6]


def test_the_logged_numbers_are_those_of_the_result(run, events):
    for name in ("accuracy", "error"):
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
    assert (started["task"].string_value, started["model"].string_value) == ("Add", "FFAttention")
    assert started["T"].number_value == run.result["T"]


def test_the_hparams_tab_has_nothing_of_the_machine(events):
    started = hparams(events)["_hparams_/session_start_info"].session_start_info.hparams
    assert not [name for name in started if name.startswith(("accelerator", "logger")) or "_target_" in name]


def test_the_hparams_tab_has_the_final_metrics(events):
    experiment = hparams(events)["_hparams_/experiment"].experiment
    assert {metric.name.tag for metric in experiment.metric_infos} == FINAL


def pictures_of(folder):
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"]}


NAMES = ("sequence", "answers", "lengths", "heat_map", "score_function")


@pytest.mark.parametrize("options", few([{"updates": 5}, {"task__tolerance": 9}], 0), ids=["its updates", "solved"])
def test_pictures_are_there_at_every_so_many_validations_and_at_the_last(tmp_path, options):
    options = {"logger": "tensorboard", "trainer__validate_every": 1, "trainer__pictures": 2} | options
    run = fit(tmp_path / "run", **options)
    times = [2, 4, 5] if run.result["updates"] == 5 else [1]
    assert pictures_of(run.folder) == {f"pictures/{name}": times for name in NAMES}
    files = {path.name for path in (run.folder / "pictures").iterdir()}
    stills = {f"{name}_{time:09d}.png" for name in NAMES for time in times}
    assert files == stills | {f"{name}.gif" for name in NAMES} | {"index.html"}


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_pictures(tmp_path):
    options = {"logger": "none", "trainer__validate_every": 1, "trainer__pictures": 1}
    fit(tmp_path / "run", updates=1, **options)
    run = fit(tmp_path / "run", updates=3, resume="last", **options)
    with Image.open(run.folder / "pictures" / "answers.gif") as animation:
        assert animation.n_frames == 3
    page = (run.folder / "pictures" / "index.html").read_text()
    assert [page.count(f'aria-label="answers, {update}"') for update in (1, 2, 3)] == [1, 1, 1]


def test_contexts_are_in_the_projector(tmp_path):
    run = fit(tmp_path / "run", logger="tensorboard", trainer__pictures=1)
    assert "context" in (run.folder / "projector_config.pbtxt").read_text()
    (metadata,) = run.folder.glob("*/context/metadata.tsv")
    (tensors,) = run.folder.glob("*/context/tensors.tsv")
    assert len(metadata.read_text().splitlines()) == len(tensors.read_text().splitlines()) == 200


@pytest.mark.slow
def test_pictures_change_nothing_of_the_run(tmp_path):
    options = {"logger": "tensorboard", "updates": 4, "model": "lstm_attention"}
    plain = fit(tmp_path / "a", **options)
    drawn = fit(tmp_path / "b", **options, trainer__pictures=1)
    assert equal(read(plain.folder)["state_dict"], read(drawn.folder)["state_dict"])
    assert plain.result["val"] == drawn.result["val"]
    assert not pictures_of(plain.folder)


@pytest.mark.slow
def test_pictures_are_of_the_averaged_weights_that_are_scored(tmp_path, monkeypatch):
    seen = []

    def record(network, *rest):
        seen.append({f"network.{name}": numbers.clone() for name, numbers in network.state_dict().items()})
        return records.record_attention(network, *rest)

    monkeypatch.setattr("ffattn.lightning.callbacks.figures.record_attention", record)
    options = {"updates": 3, "trainer__validate_every": 1, "trainer__ema_decay": 0.9, "optim__lr": 0.05}
    run = fit(tmp_path / "run", logger="none", trainer__pictures=1, **options)
    plain = fit(tmp_path / "plain", logger="none", **options)
    assert len(seen) == 3
    assert equal(seen[-1], read(run.folder)["state_dict"])
    assert equal(seen[-1], read(plain.folder)["state_dict"])


def test_the_custom_tab_shows_curves_that_exist(events):
    (layout,) = (summary for summary in events.Tensors("custom_scalars__config__"))
    chosen = Layout.FromString(layout.tensor_proto.string_val[0])
    tags = {tag for category in chosen.category for chart in category.chart for tag in chart.multiline.tag}
    assert tags <= TRAIN | FINAL | ATTENTION
    assert {"val/accuracy", "train/accuracy", "attention/mass"} <= tags
