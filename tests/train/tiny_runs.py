"""Runs that take a fraction of a second, and what is read back from them."""

import csv
import math

import torch

import ffattn
from ffattn.checkpoint import KEY
from ffattn.config.command import compose_config
from ffattn.config.convert import to_settings
from ffattn.config.schema import Train

TINY = {
    "T": 12,
    "batch_size": 4,
    "updates": 2,
    "accelerator": "cpu",
    "logger": "none",
    "trainer.validate_every": 2,
    "trainer.sequences": 10,
    "trainer.progress": "none",
    "model.hidden": 4,
}


def overrides_of(options):
    """The command line of a tiny run with some options."""
    named = TINY | {name.replace("__", "."): value for name, value in options.items()}
    return [f"{name}={'null' if value is None else value}" for name, value in named.items()]


def fit(folder, **options):
    """A tiny run; a double underscore in an option's name stands for a dot."""
    return ffattn.fit(*overrides_of(options), folder=folder, quiet=True)


def settings_of(**options):
    """The settings of a tiny run."""
    return to_settings(compose_config("train", overrides_of(options)), Train)


def in_words(options):
    """Options as the name of a test: a=1, b.c=2."""
    return ", ".join(f"{name}={value}" for name, value in options.items()).replace("__", ".")


def read(folder, name="last"):
    """A checkpoint's contents, as any reader that runs no code sees them."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def about(folder, name="last"):
    return read(folder, name)[KEY]


def rows(folder, column="val/solved"):
    """The rows of the CSV logger's file that have a value in a column, as numbers."""
    with (folder / "metrics.csv").open() as file:
        found = [row for row in csv.DictReader(file) if row.get(column)]
    return [{name: float(value) for name, value in row.items() if value} for row in found]


def equal(a, b):
    """Whether nested containers of tensors and plain values are the same to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def snapshot(folder):
    """The bytes and the time of last change of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


class Killed(Exception):
    """What ends a run in the middle."""


def kill_before(monkeypatch, update):
    """Let training die in the middle of the update with this number, counted from 1."""
    from ffattn.lightning import SequenceModule

    step = SequenceModule.training_step

    def dying(self, batch, batch_idx):
        if self.global_step == update - 1:
            raise Killed
        return step(self, batch, batch_idx)

    monkeypatch.setattr(SequenceModule, "training_step", dying)


def numbers_of_batches(monkeypatch):
    """The numbers of the training batches that are made from now on."""
    from ffattn.lightning import SequenceData

    numbers, make = [], SequenceData.training_batch

    def recorded(self, number):
        numbers.append(number)
        return make(self, number)

    monkeypatch.setattr(SequenceData, "training_batch", recorded)
    return numbers
