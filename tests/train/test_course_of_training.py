"""When a run validates, keeps, stops and fails; and what it leaves alone."""

import re
import signal
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tiny_runs import about, before_each_step, equal, fit, in_words, overrides_of, read, rows, targets_of, targets_seen

import ffattn
from ffattn.config.errors import ConfigError
from ffattn.config.paths import conf_dir
from ffattn.errors import SettingError, TrainingError
from ffattn.lightning import SequenceModule
from ffattn.lightning.callbacks.checkpoints import Checkpoints
from ffattn.lightning.callbacks.stopping import StopRule
from ffattn.models import FFAttention
from ffattn.optim import Adam
from ffattn.tasks import Add, Fixed


@pytest.mark.parametrize(
    ("updates", "every", "expected"),
    [(6, 2, [2, 4, 6]), (7, 3, [3, 6, 7]), (1, 5, [1]), (4, 5, [4]), (5, 5, [5]), (3, 1, [1, 2, 3])],
)
def test_it_validates_at_the_multiples_and_at_the_last_update(tmp_path, monkeypatch, updates, every, expected):
    validated = []
    monkeypatch.setattr(SequenceModule, "on_validation_epoch_start", lambda self: validated.append(self.global_step))
    run = fit(tmp_path / "run", updates=updates, trainer__validate_every=every, logger="csv")
    assert validated == expected
    assert len(rows(run.folder)) == len(expected)
    assert len(rows(run.folder, "test/accuracy")) == 1


def test_curves_name_the_update_that_they_belong_to(tmp_path):
    options = {"updates": 7, "trainer__validate_every": 3, "trainer__log_every": 2, "logger": "csv"}
    run = fit(tmp_path / "run", **options)
    assert [row["step"] for row in rows(run.folder, "train/loss")] == [2, 4, 6]
    assert [row["step"] for row in rows(run.folder)] == [3, 6, 7]


def test_the_best_checkpoint_is_that_of_the_best_validation(finished):
    validations = rows(finished.folder)
    best = max(range(len(validations)), key=lambda i: (validations[i]["val/accuracy"], -validations[i]["val/error"]))
    assert finished.result["val"]["update"] == about(finished.folder, "best")["update"] == 2 * (best + 1)
    assert finished.result["val"]["error"] == pytest.approx(validations[best]["val/error"])
    assert len({row["val/error"] for row in validations}) == 3


def test_a_result_has_every_validation(tmp_path):
    first = fit(tmp_path / "run", updates=4, logger="csv")
    run = fit(tmp_path / "run", updates=7, resume="last", logger="csv")
    found = run.result["validations"]
    logged = rows(run.folder)
    assert found["update"] == [2, 4, 6, 7]
    for name in ("accuracy", "error"):
        assert found[name] == pytest.approx([row[f"val/{name}"] for row in logged])
        assert found[name][:2] == first.result["validations"][name]


def saved_as_best(validations):
    """The updates whose checkpoints were kept as the best, for (accuracy, error) after one update, two, ..."""
    saved = []
    trainer = Mock(spec=Trainer, global_step=0, loggers=[])
    trainer.save_checkpoint = lambda path: saved.append((path.name, trainer.global_step))
    callback = Checkpoints(Path("run"), {}, StopRule(100, when_solved=False))
    for accuracy, error in validations:
        trainer.global_step += 1
        callback.on_validation_end(trainer, Mock(latest={"accuracy": accuracy, "error": error}))
    assert [update for name, update in saved if name == "last.ckpt"] == list(range(1, len(validations) + 1))
    return [update for name, update in saved if name == "best.ckpt"]


@pytest.mark.parametrize(
    ("validations", "expected"),
    [
        ([(0.1, 0.5), (0.2, 0.9), (0.1, 0.1)], [1, 2]),
        ([(0.1, 0.5), (0.1, 0.4), (0.1, 0.45), (0.1, 0.3)], [1, 2, 4]),
        ([(0.3, 0.5), (0.3, 0.5)], [1]),
        ([(0.0, 0.5), (0.0, 0.6), (1.0, 0.7), (1.0, 0.2)], [1, 3, 4]),
    ],
)
def test_a_higher_accuracy_is_better_and_among_equals_a_smaller_error(validations, expected):
    assert saved_as_best(validations) == expected


def test_it_stops_at_the_first_validation_that_solves_everything(tmp_path):
    run = fit(tmp_path / "run", updates=50, trainer__validate_every=3, task__tolerance=10)
    assert (run.result["stopped_because"], run.result["updates"], run.result["updates_to_solve"]) == ("solved", 3, 3)
    assert run.result["val"]["accuracy"] == run.result["test"]["accuracy"] == 1


def test_it_goes_on_after_solving_everything_if_told_so(tmp_path):
    run = fit(tmp_path / "run", updates=5, task__tolerance=10, trainer__stop_when_solved=False)
    assert (run.result["stopped_because"], run.result["updates"]) == ("updates", 5)


def test_training_leaves_torchs_random_numbers_alone(tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(tmp_path / "run", model="lstm_attention")
    assert torch.equal(torch.get_rng_state(), before)


def test_training_does_not_depend_on_torchs_random_numbers(tmp_path):
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        runs.append(fit(tmp_path / f"run{seed}", model="lstm_attention"))
    assert equal(*(read(run.folder)["state_dict"] for run in runs))


def test_another_seed_gives_other_weights_and_other_data(tmp_path):
    runs = [fit(tmp_path / f"run{seed}", seed=seed) for seed in (0, 1)]
    first, second = (read(run.folder)["state_dict"] for run in runs)
    assert not any(torch.equal(first[name], second[name]) for name in first if name.endswith("weight"))
    assert runs[0].result["test"]["error"] != runs[1].result["test"]["error"]


@pytest.mark.parametrize(
    "options",
    [
        {"trainer__log_every": 1, "trainer__progress": "lines"},
        {"trainer__log_every": 3, "trainer__progress": "bar"},
        {"trainer__validate_every": 5, "trainer__sequences": 20},
        {"logger": "csv"},
    ],
    ids=in_words,
)
def test_what_is_shown_or_validated_does_not_change_what_is_trained_on(tmp_path, monkeypatch, options):
    seen = targets_seen(monkeypatch)
    plain = fit(tmp_path / "plain", updates=6)
    watched = fit(tmp_path / "watched", updates=6, **options)
    assert seen == targets_of(range(6)) * 2
    assert equal(read(plain.folder)["state_dict"], read(watched.folder)["state_dict"])


def test_accumulated_updates_take_as_many_batches(tmp_path, monkeypatch):
    seen = targets_seen(monkeypatch)
    run = fit(tmp_path / "run", updates=3, trainer__accumulate=2)
    assert run.result["updates"] == 3
    assert seen == targets_of(range(6))


def test_accumulated_batches_count_like_one_large_batch(tmp_path):
    whole = fit(tmp_path / "whole", batch_size=8, optim="sgd", optim__momentum=0)
    parts = fit(tmp_path / "parts", batch_size=4, optim="sgd", optim__momentum=0, trainer__accumulate=2)
    for name, weight in read(whole.folder)["state_dict"].items():
        torch.testing.assert_close(read(parts.folder)["state_dict"][name], weight)


def test_one_batch_again_and_again_is_learned(tmp_path, monkeypatch):
    seen = targets_seen(monkeypatch)
    options = {"trainer__distinct_batches": 1, "updates": 12, "optim__lr": 0.002, "trainer__validate_every": 3}
    run = fit(tmp_path / "run", logger="csv", **options)
    errors = [row["val/error"] for row in rows(run.folder)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.9 * errors[0]
    assert seen == targets_of([0] * 12)


def test_a_few_batches_are_repeated_in_turn(tmp_path, monkeypatch):
    seen = targets_seen(monkeypatch)
    fit(tmp_path / "run", trainer__distinct_batches=3, updates=7)
    assert seen == targets_of([0, 1, 2, 0, 1, 2, 0])


def test_weights_are_taken_from_another_run(tmp_path, finished):
    start = fit(tmp_path / "run", init_from=finished.checkpoint, updates=1, optim__lr=1e-12, seed=0)
    source = read(finished.folder, "best")["state_dict"]
    copied = read(start.folder)["state_dict"]
    for name, weight in source.items():
        torch.testing.assert_close(copied[name], weight)
    assert start.result["val"]["error"] == pytest.approx(finished.result["val"]["error"])
    assert start.result["updates"] == 1


def test_a_run_goes_on_only_with_the_weights_it_started_from(tmp_path, finished):
    run = {"folder": tmp_path / "run", "resume": "last"}
    start = fit(**run, init_from=finished.checkpoint, updates=1)
    for other in (None, start.checkpoint):
        text = "null" if other is None else other
        with pytest.raises(ConfigError, match=f"init_from={text}: the checkpoint has {finished.checkpoint}"):
            fit(**run, init_from=other, updates=2)
    assert fit(**run, init_from=finished.checkpoint, updates=2).result["updates"] == 2
    assert fit(tmp_path / "named", resume=start.checkpoint, updates=3).result["updates"] == 3


def test_weights_of_another_size_are_refused_before_anything_is_written(tmp_path, finished):
    with pytest.raises(ConfigError, match=r"init_from=.*size mismatch") as caught:
        fit(tmp_path / "run", init_from=finished.checkpoint, model__hidden=5)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"trainer__log_every": 1},
        {"trainer__progress": "lines"},
        {"trainer__log_every": 50, "trainer__validate_every": 2},
        {"trainer__log_every": 50, "trainer__validate_every": 50},
    ],
    ids=in_words,
)
def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path, monkeypatch, options):
    spoil_error_of_update(monkeypatch, 3)
    with pytest.raises(TrainingError, match=r"the loss of update 3 is not finite.*optim\.lr") as caught:
        fit(tmp_path / "run", updates=6, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "result.json").exists()


def spoil_error_of_update(monkeypatch, update):
    def spoil(module, batch):
        return batch._replace(y=batch.y * torch.inf) if module.global_step == update - 1 else batch

    before_each_step(monkeypatch, spoil)


def test_a_learning_rate_far_too_large_ends_in_the_same_message(tmp_path):
    with pytest.raises(TrainingError, match=r"optim\.lr=1e\+30"):
        fit(tmp_path / "run", updates=12, optim__lr=1e30, trainer__log_every=1)


def test_the_checkpoint_before_a_bad_loss_is_kept_whole(tmp_path, monkeypatch):
    spoil_error_of_update(monkeypatch, 3)
    with pytest.raises(TrainingError):
        fit(tmp_path / "run", updates=6, trainer__log_every=1)
    assert about(tmp_path / "run")["update"] == 2
    assert all(weight.isfinite().all() for weight in read(tmp_path / "run")["state_dict"].values())


@pytest.mark.parametrize("experiment", ["debug", "overfit", "profile"])
def test_every_experiment_runs(tmp_path, experiment):
    run = fit(tmp_path / "run", experiment=experiment)
    assert run.result["updates"] == 2


def test_a_profile_is_written_to_the_run_directory(tmp_path):
    run = fit(tmp_path / "run", experiment="profile")
    reports = [path.read_text() for path in run.folder.glob("*profile*.txt")]
    assert any("run_training_batch" in report for report in reports)


def test_debugging_lets_autograd_check_every_operation(tmp_path, monkeypatch):
    checked = []
    before_each_step(monkeypatch, lambda _, batch: checked.append(torch.is_anomaly_enabled()) or batch)
    fit(tmp_path / "run", experiment="debug")
    assert checked == [True, True]
    assert not torch.is_anomaly_enabled()


@pytest.mark.parametrize(
    ("stop", "status"), [(SIGTERMException(), 143), (KeyboardInterrupt(), 130)], ids=["TERM", "INT"]
)
def test_a_run_that_lightning_stops_says_how_to_go_on(tmp_path, monkeypatch, capsys, stop, status):
    def interrupt(module, batch):
        raise stop

    before_each_step(monkeypatch, interrupt)
    with pytest.raises(SystemExit) as caught:
        ffattn.fit(*overrides_of({}), folder=tmp_path / "run")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Lightning ignores it from the first one on
    assert caught.value.code == status
    assert capsys.readouterr().err.endswith(
        f"interrupted; continue with hydra.run.dir={tmp_path / 'run'} resume=last\n"
    )


def test_a_configuration_that_was_composed_is_the_run(tmp_path):
    words = ["model=mean", "task=xor", "T=13", "optim.lr=0.1", "trainer.validate_every=1", "trainer.sequences=4"]
    words += ["updates=1", "batch_size=2", "logger=none", "trainer.progress=none", "accelerator=cpu"]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose("train", words)
    composed = ffattn.fit(**config, folder=tmp_path / "composed", quiet=True)
    plain = ffattn.fit(*words, folder=tmp_path / "plain", quiet=True)
    assert composed.result["settings"] == plain.result["settings"]
    assert composed.result["test"] == plain.result["test"]


def test_a_part_of_a_group_may_be_a_mapping(tmp_path):
    words = ["T=12", "updates=1", "batch_size=2", "model.hidden=4", "logger=none", "accelerator=cpu"]
    run = ffattn.fit(*words, trainer={"log_every": 7}, folder=tmp_path / "run", quiet=True)
    assert run.result["settings"]["trainer"]["log_every"] == 7
    assert run.result["settings"]["trainer"]["sequences"] == 1000


@pytest.mark.parametrize(
    ("override", "given", "message"),
    [
        ("model.hidden=3", {"model": FFAttention(hidden=7)}, "model.hidden=3: is part of the model object"),
        ("+model.hidden=3", {"model": FFAttention(hidden=7)}, "model.hidden=3: is part of the model object"),
        ("optim=sgd", {"optim": Adam()}, "optim=sgd: is part of the optim object"),
        ("trainer.patience=3", {"trainer": {"log_every": 7}}, "trainer.patience=3: is part of the trainer object"),
        ("task=xor", {"task": Add(Fixed(T=12))}, "task=xor: is part of the task object"),
        ("T=50", {"task": Add(Fixed(T=12))}, "T=50: is part of the task object"),
        ("length=variable", {"task": Add(Fixed(T=12))}, "length=variable: is part of the task object"),
    ],
)
def test_an_override_of_what_is_given_is_refused(tmp_path, override, given, message):
    with pytest.raises(SettingError, match=f"^{re.escape(message)}; set it there$"):
        ffattn.fit(override, **given, folder=tmp_path / "run")
    assert not list(tmp_path.iterdir())
