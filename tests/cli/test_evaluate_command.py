"""`ffattn-evaluate`, in this process."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from cli_files import snapshot

import ffattn
from ffattn.tasks import Variable

BEST = "checkpoint=run/checkpoints/best.ckpt"


@pytest.fixture
def evaluate(finished_run, command, workplace):
    """Run a small `ffattn-evaluate` of a finished run in the directory `run`, written to the directory `evaluation`."""
    shutil.copytree(finished_run.folder, workplace / "run")
    return lambda *arguments: command(
        "evaluate", BEST, "accelerator=cpu", "hydra.run.dir=evaluation", "sequences=10", *arguments
    )


def result(workplace):
    return json.loads((workplace / "evaluation" / "result.json").read_text())


def test_it_writes_a_result_of_its_own_and_leaves_the_run_alone(evaluate, workplace):
    before = snapshot(workplace / "run")
    done = evaluate()
    assert (done.status, done.err) == (0, "")
    assert snapshot(workplace / "run") == before
    assert result(workplace).keys() >= {"checkpoint", "task", "model", "T", "seed", "sequences", "test", "settings"}


def test_without_further_ado_everything_is_the_checkpoints_but_for_fixed_lengths(evaluate, workplace):
    evaluate()
    written, own = result(workplace), ffattn.load("run/checkpoints/best.ckpt")
    assert (written["task"], written["model"], written["T"], written["seed"]) == ("add", "ffattn", 12, 4)
    assert written["settings"]["task"]["length"]["_target_"] == "ffattn.tasks.Fixed"
    assert written["settings"]["task"]["tolerance"] == 0.3
    assert written["test"]["error"] == pytest.approx(own.evaluate(T=12, sequences=10)["error"])


def test_at_the_lengths_of_training_it_gives_the_logged_test_score(evaluate, workplace):
    evaluate("length=paper")
    logged = json.loads((workplace / "run" / "result.json").read_text())
    for name in ("accuracy", "error", "baseline"):
        assert result(workplace)["test"][name] == pytest.approx(logged["test"][name])


def test_the_validation_set_can_be_evaluated_too(evaluate, workplace):
    evaluate("length=paper", "split=val")
    logged = json.loads((workplace / "run" / "result.json").read_text())
    assert result(workplace)["val"]["error"] == pytest.approx(logged["val"]["error"])
    assert "test" not in result(workplace)


def test_another_length_is_taken(evaluate, workplace):
    done = evaluate("T=40")
    assert (done.status, result(workplace)["T"]) == (0, 40)
    assert "T=40" in done.out
    assert "baseline" in done.out
    expected = ffattn.load("run/checkpoints/best.ckpt").evaluate(T=40, sequences=10)
    assert result(workplace)["test"]["error"] == pytest.approx(expected["error"])


def test_another_rule_of_lengths_is_taken(evaluate, workplace):
    evaluate("length=variable", "T=40", "task.length.min=11")
    own = ffattn.load("run/checkpoints/best.ckpt")
    expected = own.evaluate(length=Variable(T=40, min=11), sequences=10)
    assert result(workplace)["test"]["error"] == pytest.approx(expected["error"])


def test_a_variant_of_the_task_is_taken(evaluate, workplace):
    assert evaluate("+task.tolerance=10").status == 0
    assert result(workplace)["test"]["accuracy"] == 1
    assert result(workplace)["test"]["baseline"]["accuracy"] == 1


def test_another_task_of_the_same_sizes_is_taken(evaluate, workplace):
    assert evaluate("task=multiply").status == 0
    assert result(workplace)["task"] == "multiply"


def test_another_seed_gives_other_sequences(evaluate, workplace):
    evaluate("length=paper", "seed=5")
    logged = json.loads((workplace / "run" / "result.json").read_text())
    assert result(workplace)["seed"] == 5
    assert result(workplace)["test"]["error"] != logged["test"]["error"]


def test_the_batch_size_does_not_matter(evaluate, workplace, command):
    evaluate("batch_size=3")
    first = result(workplace)["test"]
    evaluate("hydra.run.dir=second")
    second = json.loads((workplace / "second" / "result.json").read_text())["test"]
    assert first["error"] == pytest.approx(second["error"])


MISTAKES = {
    "checkpoint=no.ckpt": "no.ckpt: there is no such file",
    "checkpoint=text.ckpt": "text.ckpt: not a checkpoint",
    "checkpoint=run": "run: is a folder, not a checkpoint file",
    "T=abc": "T=abc: must be a whole number",
    "T=1e2": "T=100.0: must be a whole number; write 100",
    "T=5": "T=5: must be at least 11 for task=add",
    "sequences=0": "sequences=0: must be at least 1",
    "split=train": "split=train: must be one of val, test",
    "task=xor": "task=xor: needs another network than the checkpoint's, made for add",
    "task=multipy": "task=multipy: no such choice; did you mean multiply?",
    "+task.tolerence=1": "task.tolerence: unknown key; did you mean task.tolerance?",
    "model.hidden=3": "model.hidden",
    "sequence=3": "sequence: unknown key; did you mean sequences?",
    "accelerator=gpu": "accelerator=gpu: torch finds no CUDA device here",
    "hydra.run.dir=run": "run: holds a run already; choose another hydra.run.dir",
    "trust=3": "trust",
}


@pytest.mark.parametrize(("argument", "start"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_one_line_and_leaves_no_trace(evaluate, workplace, monkeypatch, argument, start):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (workplace / "text.ckpt").write_text("no checkpoint\n")
    before = snapshot(workplace)
    done = evaluate(argument)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(start)
    assert done.err.count("\n") == 1
    assert snapshot(workplace) == before


def test_a_checkpoint_must_be_named(command, workplace):
    done = command("evaluate")
    assert (done.status, done.out, done.err) == (1, "", "checkpoint: missing; give checkpoint=PATH\n")
    assert list(workplace.iterdir()) == []


def test_a_checkpoint_of_another_format_is_told(evaluate, workplace):
    path = workplace / "run" / "checkpoints" / "best.ckpt"
    contents = torch.load(path, weights_only=True)
    contents["ffattn"]["format"] = 99
    torch.save(contents, path)
    done = evaluate()
    assert done.status == 1
    assert "has format 99" in done.err
    assert not (workplace / "evaluation").exists()


def test_a_sweep_over_lengths_makes_a_directory_for_each(evaluate, workplace):
    assert evaluate("-m", "hydra.sweep.dir=sweep", "T=12,20").status == 0
    written = {
        path.parent.name: json.loads(path.read_text())["T"] for path in (workplace / "sweep").rglob("result.json")
    }
    assert written == {"T12": 12, "T20": 20}
    before = {path: path.read_bytes() for path in workplace.rglob("result.json")}
    again = evaluate("-m", "hydra.sweep.dir=sweep", "T=12,20")
    assert (again.status, again.err.count("skipped")) == (0, 2)
    assert {path: path.read_bytes() for path in workplace.rglob("result.json")} == before
    other = evaluate("-m", "hydra.sweep.dir=sweep", "T=12,20", "sequences=9")
    assert other.status == 1
    folder = workplace / "sweep" / "T12"
    assert other.err.splitlines() == [
        f"{folder}: was evaluated with other settings; choose another hydra.sweep.dir",
        "sequences=9: the result has 10",
    ]


def test_a_checkpoint_of_format_1_is_evaluated(evaluate, workplace):
    old = Path(__file__).parents[1] / "data" / "run_of_format_1"
    done = evaluate(f"checkpoint={old / 'checkpoints' / 'best.ckpt'}", "length=paper", "sequences=50")
    assert done.status == 0
    logged = json.loads((old / "result.json").read_text())["test"]
    for name, before in {"accuracy": "solved", "error": "error", "attention_mass": "mass"}.items():
        assert result(workplace)["test"][name] == pytest.approx(logged[before], rel=1e-4)
