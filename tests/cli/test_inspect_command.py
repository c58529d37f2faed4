"""`ffattn-inspect`, in this process."""

import importlib.util
import json
import shutil

import pytest
from cli_files import snapshot

BEST = "checkpoint=run/checkpoints/best.ckpt"
PICTURES = {"answers.png", "heat_map.png", "lengths.png", "score_function.png", "sequence.png"}


@pytest.fixture
def look(finished_run, command, workplace):
    """Run a small `ffattn-inspect` of a finished run in the directory `run`, written to the directory `looked`."""
    shutil.copytree(finished_run.folder, workplace / "run")
    return lambda *arguments: command("inspect", BEST, "accelerator=cpu", "hydra.run.dir=looked", *arguments)


def test_it_writes_pictures_and_a_page_and_leaves_the_run_alone(look, workplace):
    before = snapshot(workplace / "run")
    done = look("sequences=7", "index=6")
    assert (done.status, done.err) == (0, "")
    assert snapshot(workplace / "run") == before
    files = {path.name for path in (workplace / "looked").iterdir() if path.is_file()}
    assert files == PICTURES | {"index.html", "result.json"}
    page = (workplace / "looked" / "index.html").read_text()
    assert page.count("<img") == len(PICTURES)
    assert "Sequence 6" in page
    assert "looked/index.html" in done.out


def test_the_scores_are_those_of_an_evaluation(look, command, workplace):
    look("sequences=10")
    command("evaluate", BEST, "accelerator=cpu", "hydra.run.dir=e", "sequences=10", "length=paper")
    seen, expected = (json.loads((workplace / name / "result.json").read_text())["test"] for name in ("looked", "e"))
    assert seen["error"] == pytest.approx(expected["error"])
    assert seen["accuracy"] == pytest.approx(expected["accuracy"])


def test_a_sequence_that_is_not_there_is_one_line(look, workplace):
    done = look("sequences=5", "index=5")
    assert (done.status, done.err) == (1, "index=5: must be less than sequences=5\n")
    assert not (workplace / "looked").exists()


def test_without_matplotlib_it_is_one_line(look, monkeypatch, workplace):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    done = look()
    assert done.status == 1
    assert done.err == "python -m ffattn.inspect: needs matplotlib: pip install 'ffattn[pictures]'\n"
    assert not (workplace / "looked").exists()


@pytest.mark.slow
def test_several_looks_are_a_sweep(look, command, workplace):
    done = command("inspect", "-m", BEST, "accelerator=cpu", "index=0,1", "sequences=3", "hydra.sweep.dir=several")
    assert done.status == 0, done.err
    assert len(list((workplace / "several").glob("index*/index.html"))) == 2
