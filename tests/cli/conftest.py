"""Fixtures of the command tests: commands are run in this process where that is enough."""

import importlib
import logging
import os
import sys
from typing import NamedTuple

import pytest
import torch
from cli_files import TINY

import ffattn


class Done(NamedTuple):
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working directory; what a command does to the process is undone."""
    before, threads = dict(os.environ), torch.get_num_threads()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)
    os.environ.clear()
    os.environ.update(before)
    root.setLevel(level)
    root.handlers[:] = handlers  # Hydra's --info leaves one that writes to this test's captured stream


@pytest.fixture
def command(workplace, monkeypatch, capsys):
    """Run `ffattn-<name> arguments` in this process, in the empty directory."""

    def run(name, *arguments):
        options_first = sorted(arguments, key=lambda argument: not argument.startswith("-"))
        monkeypatch.setattr(sys, "argv", [f"ffattn-{name}", *options_first])
        os.environ.pop("HYDRA_FULL_ERROR", None)
        status = 0
        try:
            importlib.import_module(f"ffattn.{name}").main()
        except SystemExit as stop:
            status = stop.code or 0
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def train(command):
    """Run a tiny `ffattn-train` in the directory `run`."""
    return lambda *arguments: command("train", *TINY, "hydra.run.dir=run", *arguments)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A finished tiny run, which no test may change."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    return ffattn.fit(*TINY, "seed=4", "task.tolerance=0.3", folder=folder, quiet=True)
