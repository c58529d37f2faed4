"""`python -m ffattn` lists the commands without torch, and runs them as they run by themselves."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import ffattn.predict
from ffattn.__main__ import COMMANDS, description_of, main
from ffattn.runs.result import read_result


@pytest.fixture
def run(monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["/somewhere/ffattn/__main__.py", *words])
        main()

    return run


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_every_command_has_a_line(run, capsys, words):
    run(*words)
    shown = capsys.readouterr().out
    assert "  train     train a model on a task.\n" in shown
    for command in COMMANDS:
        (line,) = (line for line in shown.splitlines() if line.startswith(f"  {command} "))
        assert line.split(maxsplit=1)[1] == description_of(command)


def test_the_commands_are_those_that_are_installed():
    root = Path(ffattn.__file__).parent
    doors = {path.stem for path in root.glob("*.py") if "\ndef main()" in path.read_text()}
    assert doors - {"__main__"} == set(COMMANDS)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "trian",
            "trian: no such command; did you mean train? (ffattn has train, evaluate, predict, export, inspect, ",
        ),
        ("zzz", "zzz: no such command (ffattn has train, "),
        ("task=add", "task=add: no such command (ffattn has train, "),
    ],
)
def test_another_word_is_one_line_and_a_status(run, word, line):
    with pytest.raises(SystemExit) as left:
        run(word)
    assert str(left.value.code).startswith(line)
    assert "\n" not in left.value.code


def test_a_command_gets_its_own_words(run, monkeypatch):
    seen = []
    monkeypatch.setattr(ffattn.predict, "main", lambda: seen.append(sys.argv))
    run("predict", "input=a.csv", "--help")
    assert seen == [[ffattn.predict.__file__, "input=a.csv", "--help"]]


@pytest.mark.cli
def test_torch_is_not_waited_for():
    code = "import sys, runpy; sys.argv[1:] = []; runpy.run_module('ffattn', run_name='__main__', alter_sys=True)\n"
    code += "assert not {'torch', 'hydra', 'numpy', 'lightning'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: python -m ffattn COMMAND ...\n")


def test_a_run_says_what_it_would_say(run, tmp_path, monkeypatch):
    """Its result names the command that makes it again."""
    words = ["T=12", "updates=2", "batch_size=4", "model.hidden=4", "trainer.sequences=4", "trainer.validate_every=2"]
    words += ["accelerator=cpu", "logger=none", "trainer.progress=none", f"hydra.run.dir={tmp_path / 'run'}"]
    monkeypatch.chdir(tmp_path)
    with mock.patch.dict(os.environ):
        run("train", *words)
    assert read_result(tmp_path / "run")["command"] == ["python", "-m", "ffattn.train", *words]
