"""What a command line leads to: work, a listing, or one line and a status."""

import errno
import os
import re
import sys
from unittest import mock

import pytest
from omegaconf import OmegaConf

from ffattn.config.command import run_tool, short_errors
from ffattn.config.compose import compose_config, resolve_value
from ffattn.config.errors import ConfigError
from ffattn.config.overrides import usual
from ffattn.errors import DataError

WORDS = "checkpoint=c.ckpt", "input=x.csv", "output=y.csv"


@pytest.fixture(autouse=True)
def _environment():
    """A command tells Hydra by the environment how to print errors."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def tool(monkeypatch):
    """Run `predict` with words of a command line, and tell what work it was given."""

    def run(*words):
        given = []
        monkeypatch.setattr(sys, "argv", ["predict", *words])
        run_tool("predict", given.append)
        return given

    return run


def test_a_tool_is_given_its_configuration(tool, capsys):
    (config,) = tool(*WORDS)
    assert (config.checkpoint, config.input, config.output) == ("c.ckpt", "x.csv", "y.csv")
    assert capsys.readouterr() == ("", "")


def test_what_is_shown_is_not_done(tool, capsys):
    assert tool("--cfg=job", *WORDS) == []
    assert "output: y.csv" in capsys.readouterr().out


def test_help_is_of_what_the_command_takes(tool, capsys):
    assert tool("--help") == []
    shown = capsys.readouterr().out
    assert "output: ???" in shown
    assert "multiply" not in shown  # a task is the checkpoint's


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("-m", *WORDS), "-m: python -m ffattn.predict does one thing at a time\n"),
        (("-m", "--cfg=job", *WORDS), "--cfg=job: shows one job; leave out -m, and choose one value for each key\n"),
        (("--config-name=x", *WORDS), "--config-name: is not supported; use --config-dir=FOLDER or experiment=NAME\n"),
        (
            ("--experimental-rerun=x.pickle", *WORDS),
            "--experimental-rerun: is not supported; repeat the overrides in .hydra/overrides.yaml\n",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(tool, capsys, words, line):
    with pytest.raises(SystemExit) as left:
        tool(*words)
    assert (left.value.code, capsys.readouterr().err) == (1, line)


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (DataError("x.csv, row 2: no id"), 1, "x.csv, row 2: no id\n"),
        (PermissionError(errno.EACCES, "Permission denied", "outputs"), 1, "outputs: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "a file cannot be written: No space left on device\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_a_mistake_ends_with_one_line_and_its_status(capsys, error, status, line):
    with pytest.raises(SystemExit) as left, short_errors():
        raise error
    assert (left.value.code, capsys.readouterr().err) == (status, line)


@pytest.mark.parametrize("error", [ValueError("a defect"), OSError(errno.EPIPE, "Broken pipe")])
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)), short_errors():
        raise error


def test_a_full_error_is_shown_where_it_is_wanted(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(DataError), short_errors():
        raise DataError("x.csv, row 2: no id")


def test_an_interpolation_that_leads_nowhere_is_named():
    config = OmegaConf.create({"hydra": {"run": {"dir": "outputs/${nothing}"}}})
    with pytest.raises(ConfigError, match=r"^hydra.run.dir: Interpolation key 'nothing' not found$"):
        resolve_value(config, "hydra.run.dir")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("+experiment=fast", "experiment=fast"),
        ("+sweep=learning_rate", "sweep=learning_rate"),
        ("~logger", "logger=none"),
        ("~trainer.patience", "trainer.patience=null"),
        ("~trainer.gradient_clip", "trainer.gradient_clip=null"),
        ("~seed", "~seed"),  # which may not be null: its default
        ("~trainer", "~trainer"),
        ("~nothing.here", "~nothing.here"),
        ("~trainer.patience=20", "~trainer.patience=20"),
        ("+task.tolerance=3", "+task.tolerance=3"),
        ("-m", "-m"),
    ],
)
def test_what_others_write_is_taken(written, expected):
    assert usual([written]) == [expected]


def test_what_is_deleted_is_not_there():
    config = compose_config("train", ["~logger", "task=file", "~trainer.patience"])
    assert config.trainer.patience is None
    assert config.logger.kind == "none"


@pytest.mark.parametrize("name", ["evaluate", "inspect"])
def test_help_lists_no_choice_that_is_refused(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    run_tool(name, pytest.fail)
    shown = capsys.readouterr().out.partition("Choices")[2].partition("Settings")[0]
    assert re.findall(r"^(\w+): ", shown, re.MULTILINE) == ["accelerator", "length", "task"]
