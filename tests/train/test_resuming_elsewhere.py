"""`resume=PATH`: what it brings along, what it refuses, and what a finished checkpoint does."""

import shutil

import pytest
import torch
from tiny_runs import about, fit, fit_until_killed, read, snapshot

from ffattn.config.errors import ConfigError
from ffattn.inference.checkpoint_files import KEY

LONGER = {"updates": 6, "trainer__validate_every": 2}


@pytest.fixture
def killed(tmp_path):
    """A run that died in its fifth update, after two validations."""
    fit_until_killed(tmp_path / "killed", 5, **LONGER)
    return tmp_path / "killed"


def rewrite(path, **changes):
    """Change what a checkpoint says of its run."""
    contents = torch.load(path, weights_only=True)
    contents[KEY] |= changes
    torch.save(contents, path)


def test_the_best_checkpoint_is_brought_along(tmp_path, killed):
    """Otherwise a run whose best validation lies behind it would end without any."""
    best = about(killed)["best"] | {"accuracy": 0.99}
    rewrite(killed / "checkpoints" / "last.ckpt", best=best)
    shutil.copy(killed / "checkpoints" / "last.ckpt", killed / "checkpoints" / "best.ckpt")
    rewrite(killed / "checkpoints" / "best.ckpt", update=best["update"])
    run = fit(tmp_path / "new", resume=killed / "checkpoints" / "last.ckpt", **LONGER)
    assert run.result["val"]["accuracy"] == 0.99
    assert run.checkpoint.exists()


def test_a_checkpoint_whose_best_is_missing_is_refused(tmp_path, killed):
    last = killed / "checkpoints" / "last.ckpt"
    rewrite(last, best=about(killed)["best"] | {"update": 1})
    (killed / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(ConfigError, match=r"best\.ckpt of update 1"):
        fit(tmp_path / "new", resume=last, **LONGER)
    assert not (tmp_path / "new").exists()


def test_a_directory_that_holds_another_run_is_refused(tmp_path, killed):
    other = fit(tmp_path / "other").folder
    before = snapshot(other)
    with pytest.raises(ConfigError, match="holds another run"):
        fit(other, resume=killed / "checkpoints" / "last.ckpt", **LONGER)
    assert snapshot(other) == before


def test_a_finished_checkpoint_elsewhere_is_the_finished_run(tmp_path):
    finished = fit(tmp_path / "finished", **LONGER)
    again = fit(tmp_path / "new", resume=finished.folder / "checkpoints" / "last.ckpt", **LONGER)
    assert (again.folder, again.result) == (finished.folder, finished.result)
    assert not (tmp_path / "new").exists()


def test_a_finished_checkpoint_without_its_run_is_refused(tmp_path):
    finished = fit(tmp_path / "finished", **LONGER)
    shutil.copy(finished.folder / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
    with pytest.raises(ConfigError, match="has made its 6 updates"):
        fit(tmp_path / "new", resume=tmp_path / "alone.ckpt", **LONGER)
    assert not (tmp_path / "new").exists()


def test_a_relative_path_is_enough(tmp_path, monkeypatch):
    finished = fit(tmp_path / "finished", **LONGER)
    monkeypatch.chdir(finished.folder / "checkpoints")
    assert fit(finished.folder, resume="last.ckpt", **LONGER).result == finished.result


def test_the_result_of_the_shorter_run_is_not_taken_for_the_longer_one(tmp_path):
    """Killed between the end of training and the test, the longer run is tested when it is resumed."""
    run = fit(tmp_path / "run", updates=2, trainer__validate_every=2)
    old = (run.folder / "result.json").read_bytes()
    longer = fit(run.folder, resume="last", **LONGER)
    (run.folder / "result.json").write_bytes(old)
    again = fit(run.folder, resume="last", **LONGER)
    assert again.result["updates"] == read(run.folder)[KEY]["update"] == 6
    assert again.result["test"] == longer.result["test"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_directory_that_cannot_be_made_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        fit(tmp_path / place)


def test_a_run_of_an_earlier_version_goes_on_where_it_had_no_such_setting(tmp_path, killed):
    """A setting that has come since has had its default; so any other value is a change."""
    last = killed / "checkpoints" / "last.ckpt"
    older = about(killed)["settings"]
    del older["model"]["query_init"]
    rewrite(last, settings=older)
    contents = torch.load(last, weights_only=True)
    del contents[KEY]["history"]
    torch.save(contents, last)
    with pytest.raises(ConfigError, match="query_init=positive: the checkpoint has normal"):
        fit(killed, resume="last", model__query_init="positive", **LONGER)
    run = fit(killed, resume="last", **LONGER)
    assert run.result["validations"]["update"][-1] == run.result["updates"]
