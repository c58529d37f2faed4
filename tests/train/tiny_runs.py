"""Runs that take a fraction of a second, and what is read back from them."""

import csv
import math

import pytest
import torch

import ffattn
from ffattn.config.compose import compose_config
from ffattn.config.convert import to_settings
from ffattn.config.schema import Train
from ffattn.inference.checkpoint_files import KEY
from ffattn.lightning import SequenceModule
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import Add, Paper

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


def rows(folder, column="val/accuracy"):
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


def assert_same_run(first, second):
    """Weights, optimiser, schedule, best validation and scores are equal."""
    for name in ("last", "best"):
        a = read(first.folder, name)
        b = read(second.folder, name)
        keys = {"state_dict", "optimizer_states", "lr_schedulers", "global_step"}
        assert {key for key in keys if not equal(a[key], b[key])} == set()
    for key in ("updates", "updates_to_solve", "solved", "stopped_because", "val", "test"):
        assert first.result[key] == second.result[key]


def snapshot(folder):
    """The bytes and the time of last change of every file but locks, which some versions of filelock truncate anew."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


class KilledError(Exception):
    """What ends a run in the middle."""


def fit_until_killed(folder, update, **options):
    """A run that dies in the middle of the update with this number, counted from 1."""

    def die(module, batch):
        if module.global_step == update - 1:
            raise KilledError
        return batch

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, die)
        with pytest.raises(KilledError):
            fit(folder, **options)


def before_each_step(patch, function):
    """Let every training step work on `function(module, batch)` instead of the batch."""
    step = SequenceModule.training_step
    patch.setattr(SequenceModule, "training_step", lambda self, batch, index: step(self, function(self, batch), index))


def targets_seen(patch):
    """A list to which the targets of every batch that is trained on are appended from now on."""
    seen = []

    def record(module, batch):
        seen.append(batch.y.flatten().tolist())
        return batch

    before_each_step(patch, record)
    return seen


def targets_of(numbers, size=4):
    """The targets of the addition task's training batches with some numbers, as TINY has it."""
    task = Add(length=Paper(T=12))
    stream = Stream(0, Split.TRAIN)
    batches = [
        task.training_batch(stream, number, torch.arange(number * size, (number + 1) * size)) for number in numbers
    ]
    return [batch.y.flatten().tolist() for batch in batches]
