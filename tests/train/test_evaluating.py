"""A checkpoint says the same, whoever evaluates it; and it needs neither its run nor its command line."""

from dataclasses import dataclass, replace

import pytest
import torch
from tiny_runs import TINY, equal, fit, overrides_of, read, rows

import ffattn
from ffattn.errors import SettingError
from ffattn.inference.evaluation import evaluate
from ffattn.models import FFAttention
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Fixed, Variable

BUT_TASK_AND_MODEL = [f"{name}={value}" for name, value in TINY.items() if name not in {"T", "model.hidden"}]
SCORES = ("accuracy", "error")


@pytest.fixture(scope="module", params=["ffattn", "lstm_attention", "mean"])
def run(request, tmp_path_factory):
    """A finished run of each kind of model; most of its answers are right."""
    return fit(tmp_path_factory.mktemp("run") / "run", model=request.param, task__tolerance=0.3, updates=4)


@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluating_the_best_checkpoint_gives_the_logged_scores(run, split):
    scores = ffattn.load(run.checkpoint).evaluate(sequences=TINY["trainer.sequences"], split=split)
    assert {name: scores[name] for name in SCORES} == pytest.approx({name: run.result[split][name] for name in SCORES})
    assert scores["error"] > 0


def test_the_logged_scores_are_those_in_the_result(finished):
    test = rows(finished.folder, "test/accuracy")[0]
    best = finished.result["val"]["update"]
    assert [test[f"test/{name}"] for name in SCORES] == pytest.approx([finished.result["test"][n] for n in SCORES])
    validation = rows(finished.folder)[best // TINY["trainer.validate_every"] - 1]
    assert [validation[f"val/{name}"] for name in SCORES] == pytest.approx([finished.result["val"][n] for n in SCORES])


@pytest.mark.parametrize("batch_size", [1, 3, 10, 100])
def test_scores_do_not_depend_on_how_the_set_is_divided(run, batch_size):
    trained = run.load()
    scores = evaluate(trained.network, trained.task, Stream(0, Split.TEST), 10, batch_size)
    assert scores == pytest.approx(trained.evaluate(sequences=10))


def test_a_network_is_left_in_the_mode_in_which_it_was(run):
    trained = run.load()
    assert not trained.network.training
    trained.network.train()
    first = evaluate(trained.network, trained.task, Stream(0, Split.TEST), 10)
    assert trained.network.training
    assert first == run.load().evaluate(sequences=10)


def test_any_length_can_be_evaluated(run):
    trained = run.load()
    scores = [trained.evaluate(T=T, sequences=10)["error"] for T in (11, 12, 40)]
    assert len(set(scores)) == 3
    varied = trained.evaluate(length=Variable(T=40, min=11), sequences=10)
    assert varied["error"] == pytest.approx(
        evaluate(trained.network, replace(trained.task, length=Variable(T=40, min=11)), Stream(0, Split.TEST), 10)[
            "error"
        ]
    )


def test_a_length_that_the_task_refuses_is_refused(run):
    with pytest.raises(SettingError, match="must be at least 11 for task=add"):
        run.load().evaluate(T=5, sequences=10)


def test_a_loaded_network_has_the_saved_weights_and_settings(run):
    trained = ffattn.load(str(run.checkpoint))
    saved = read(run.folder, "best")["state_dict"]
    weights = {f"network.{name}": value for name, value in trained.network.state_dict().items()}
    assert equal(weights, saved)
    assert (trained.task.tolerance, trained.task.length.T, trained.seed) == (0.3, 12, 0)
    assert trained.model.name == run.result["model"]
    assert trained.update == run.result["val"]["update"]


def test_predictions_are_the_networks_answers(run):
    trained = run.load()
    batch = trained.task.evaluation_batch(Stream(0, Split.TEST), 6, torch.arange(6))
    answer = trained.answer(batch.x, batch.lengths)
    assert torch.equal(trained.predict(batch.x, batch.lengths), answer.prediction)
    assert torch.equal(run.predict(batch.x, batch.lengths), answer.prediction)
    assert not answer.prediction.requires_grad
    if answer.weights is not None:
        torch.testing.assert_close(answer.weights.sum(dim=1), torch.ones(6))


def test_without_lengths_all_steps_are_real(run):
    trained = run.load()
    x = torch.randn(3, 14, 2)
    assert torch.equal(trained.predict(x), trained.predict(x, torch.full((3,), 14)))


def test_other_kinds_of_numbers_are_taken_too(run):
    trained = run.load()
    x = torch.randn(3, 14, 2)
    assert torch.equal(trained.predict(x.double()), trained.predict(x))


def test_the_answers_of_a_classification_task_are_classes(tmp_path):
    run = fit(tmp_path / "run", task="temporal_order_2")
    classes = run.predict(torch.randn(20, 12, 8))
    assert classes.shape == (20,)
    assert set(classes.tolist()) <= {0, 1, 2, 3}


def test_settings_objects_may_be_given_instead_of_names(tmp_path):
    task = Add(length=Fixed(T=15), tolerance=0.2)
    model = FFAttention(hidden=3)
    run = ffattn.fit(*BUT_TASK_AND_MODEL, folder=tmp_path / "run", quiet=True, task=task, model=model)
    assert (run.load().task, run.load().model, run.result["T"]) == (task, model, 15)


@dataclass
class MyAdd(Add):
    """A task from outside the package."""


@dataclass
class MyModel(FFAttention):
    """A model from outside the package."""


@pytest.mark.parametrize(
    "parts", [{"task": MyAdd(length=Fixed(T=15))}, {"model": MyModel(hidden=3)}], ids=["task", "model"]
)
def test_a_run_trusts_the_classes_that_it_was_given(tmp_path, parts):
    run = ffattn.fit(*BUT_TASK_AND_MODEL, folder=tmp_path / "run", quiet=True, **parts)
    assert {name: getattr(run.load(), name) for name in parts} == parts
    assert run.predict(torch.zeros(3, 15, 2)).shape == (3, 1)
    with pytest.raises(SettingError, match="trust=<package>"):
        ffattn.load(run.checkpoint)


def test_fit_makes_a_directory_under_outputs_of_its_own_accord(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = fit(None)
    assert run.folder.parts[:3] == ("outputs", "add_ffattn", "T12")
    assert (tmp_path / run.folder / "result.json").is_file()


def test_fit_prints_nothing_when_it_is_quiet(tmp_path, capfd):
    fit(tmp_path / "first")
    capfd.readouterr()  # on a new machine kernels are compiled, which is said
    fit(tmp_path / "run")
    assert capfd.readouterr() == ("", "")


def test_fit_prints_what_a_person_wants_to_know(tmp_path, capsys):
    ffattn.fit(*overrides_of({}), folder=tmp_path / "run")
    printed = capsys.readouterr().out
    for part in (
        "task",
        "add, T=12",
        "42 parameters",
        "cpu",
        str(tmp_path),
        "validation",
        "test",
        "baseline",
        "updates/s",
    ):
        assert part in printed
    assert "best.ckpt" in printed


def test_averaged_weights_are_the_ones_that_are_kept(tmp_path):
    run = fit(tmp_path / "run", trainer__ema_decay=0.9, updates=4, optim__lr=0.05)
    plain = fit(tmp_path / "plain", updates=4, optim__lr=0.05)
    for split in ("val", "test"):
        assert run.load().evaluate(sequences=10, split=split)["error"] == pytest.approx(run.result[split]["error"])
    assert not equal(read(run.folder)["state_dict"], read(plain.folder)["state_dict"])
