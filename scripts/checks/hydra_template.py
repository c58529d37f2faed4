"""What the Lightning-Hydra-Template does under the tests of docs/reliability.md: a table.

git clone https://github.com/ashleve/lightning-hydra-template
python -m scripts.checks.hydra_template lightning-hydra-template

The template is copied, and given a small data set with a delay, whose validation gets better with each epoch, so that
each is saved; network, training and callbacks are its own. It needs
what its requirements name but for torchvision, in this interpreter or in that of --python. Since torch 2.6 it cannot
read its own checkpoints, which have its network in them; after the first row runs are told to read any
(TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD).
"""

import argparse
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from scripts.checks.plain_lightning import Hostile

DATA = """
import hashlib, os, time
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

class Pictures(Dataset):
    def __init__(self, is_training):
        generator = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(40, 1, 28, 28, generator=generator), torch.arange(40) % 10
        self.is_training = is_training
    def __len__(self):
        return len(self.x)
    def __getitem__(self, index):
        if self.is_training:
            time.sleep(float(os.environ.get("PAUSE", 0)))
            with open(os.environ["TRACE"], "a") as file:
                file.write(f"{index} ")
        return self.x[index], self.y[index]

class PicturesDataModule(LightningDataModule):
    def __init__(self, batch_size=4):
        super().__init__()
        self.batch_size = batch_size
    def train_dataloader(self):
        return DataLoader(Pictures(True), batch_size=self.batch_size, shuffle=True)
    def val_dataloader(self):
        return DataLoader(Pictures(False), batch_size=self.batch_size)
    test_dataloader = val_dataloader
    def teardown(self, stage):
        if stage == "fit":
            weights = b"".join(tensor.numpy().tobytes() for tensor in self.trainer.model.state_dict().values())
            with open(os.environ["TRACE"], "a") as file:
                file.write(hashlib.sha256(weights).hexdigest())
"""
CONFIG = "_target_: src.data.pictures_datamodule.PicturesDataModule\nbatch_size: 4\n"
EPOCH = 40  # pictures; how many epochs a run has
EPOCHS = 4
MISTAKES = {  # of the template, and here
    "a name that is not there": ("trainer.max_epocs=3", "updatse=3"),
    "a name that is not there, with +": ("+trainer.max_epocs=3", "+updatse=3"),
    "a word for a number": ("trainer.max_epochs=ten", "updates=ten"),
    "a number below zero": ("callbacks.early_stopping.patience=-5", "trainer.patience=-5"),
    "a rate below zero": ("model.optimizer.lr=-1", "optim.lr=-1"),
    "no rate": ("model.optimizer.lr=nan", "optim.lr=nan"),
    "half a unit": ("model.net.lin1_size=64.5", "model.hidden=64.5"),
    "no sequence in a batch": ("data.batch_size=0", "batch_size=0"),
    "yes for true": ("test=ja", "model.shift=ja"),
    "an unknown choice": ("trainer=gpus", "accelerator=gpus"),
    "a checkpoint that is not there": ("ckpt_path=gone.ckpt", "resume=gone.ckpt"),
    "a misspelt mode": ("callbacks.model_checkpoint.save_last=sometimes", "trainer.on_oom=sometimes"),
}


class Template:
    """A copy of the template, and runs of it.

    Args:
        clone: The template.
        folder: Where the copy and all that runs write is.
        python: The interpreter.
    """

    def __init__(self, clone: Path, folder: Path, python: str) -> None:
        self.root = folder / "template"
        self.python = python
        self.folder = folder
        shutil.copytree(clone, self.root)
        (self.root / "src/data/pictures_datamodule.py").write_text(DATA)
        (self.root / "configs/data/pictures.yaml").write_text(CONFIG)

    def start(self, name: str, *overrides: str, pause: float = 0, trusts: bool = True) -> subprocess.Popen[str]:
        """A run in a process of its own.

        Args:
            name: Of its directory and its trace.
            *overrides: Besides those that make it short.
            pause: Seconds for which reading a training picture waits.
            trusts: Whether it may read any checkpoint.
        """
        short = f"data=pictures seed=1 trainer.max_epochs={EPOCHS} hydra.run.dir={self.folder / name}"
        command = [self.python, "-W", "ignore", "src/train.py", *short.split(), *overrides]
        environment = os.environ | {"PAUSE": str(pause), "TRACE": str(self.folder / f"{name}.txt")}
        environment |= {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"} if trusts else {}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.root, env=environment, stdout=pipe, stderr=pipe, text=True)

    def seen(self, name: str) -> list[str]:
        """The pictures that a run has trained on, in order, and last, if it came to its end, a hash of its weights."""
        trace = self.folder / f"{name}.txt"
        return trace.read_text().split() if trace.exists() else []

    def checkpoint(self, name: str) -> Path:
        """The last checkpoint of a run."""
        return self.folder / name / "checkpoints" / "last.ckpt"

    def stopped(self, name: str, number: signal.Signals) -> int:
        """Send a signal in the middle of the third epoch of a run, and wait for its end: its status."""
        run = self.start(name, pause=0.02)
        while len(self.seen(name)) < 2.5 * EPOCH and run.poll() is None:
            time.sleep(0.02)
        run.send_signal(number)
        run.communicate(timeout=300)
        return run.returncode


def ending(run: subprocess.Popen[str]) -> str:
    """How a run ends: its status, and what it says."""
    output, errors = run.communicate(timeout=300)
    if not run.returncode:
        return "runs on as if nothing were wrong"
    if "Traceback" in output + errors:
        return f"status {run.returncode}, a traceback"
    lines = [line for line in errors.splitlines() if line.strip()]
    return f"status {run.returncode}, {len(lines)} line{'s' * (len(lines) != 1)}"


def as_it_is(template: Template) -> str:
    """A whole run, which reads its best checkpoint at its end, and which trusts nothing."""
    return ending(template.start("as_it_is", trusts=False))


def after_a_signal(template: Template, number: signal.Signals) -> str:
    """Status, and what has been saved when a signal comes in the middle of an epoch."""
    status = template.stopped(number.name, number)
    run = template.start(f"{number.name}_again", f"ckpt_path={template.checkpoint(number.name)}")
    how = ending(run)
    if run.returncode:
        return f"status {status}; does not go on: {how}"
    lost = len(template.seen(f"{number.name}_again")) - 1 - round(1.5 * EPOCH)
    return f"status {status}; trains on {lost} of the {EPOCH} pictures of that epoch again"


def after_a_kill(template: Template) -> str:
    """Whether a run that is killed and goes on ends as it would have."""
    template.start("whole").communicate(timeout=300)
    template.stopped("killed", signal.SIGKILL)
    run = template.start("going_on", f"ckpt_path={template.checkpoint('killed')}")
    how = ending(run)
    if run.returncode:
        return f"does not go on: {how}"
    whole = template.seen("whole")
    going_on = template.seen("going_on")
    order = "the same" if whole[-len(going_on) : -1] == going_on[:-1] else "another"
    weights = "the same" if whole[-1] == going_on[-1] else "other"
    return f"{order} order of the pictures, {weights} weights"


def after_an_altered_bit(template: Template) -> str:
    """Whether a checkpoint with another weight is noticed; it is stored, not packed, and torch checks no sum."""
    path = template.checkpoint("whole")
    altered = template.folder / "altered.ckpt"
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
        data = archive.read(largest)
    contents = bytearray(path.read_bytes())
    contents[contents.find(data) + len(data) // 2] ^= 1
    altered.write_bytes(contents)
    run = template.start("altered", f"ckpt_path={altered}", f"trainer.max_epochs={EPOCHS + 1}")
    return f"a weight is altered: {ending(run)}"


def after_a_hostile_checkpoint(template: Template, trusts: bool) -> str:
    """Whether code in a checkpoint is run."""
    trace = template.folder / f"trace_of_checkpoint_{trusts}"
    path = template.folder / "hostile.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": Hostile(trace)}))
    how = ending(template.start("hostile", f"ckpt_path={path}", trusts=trusts))
    return f"its code is {'' if trace.exists() else 'not '}run; {how}"


def after_hostile_settings(template: Template) -> str:
    """Whether an experiment's file can name any function."""
    trace = template.folder / "trace_of_settings"
    text = f"# @package _global_\ncallbacks:\n  more:\n    _target_: os.mkdir\n    path: {trace}\n"
    (template.root / "configs/experiment/hostile.yaml").write_text(text)
    how = ending(template.start("settings", "experiment=hostile"))
    return f"its code is {'' if trace.exists() else 'not '}run; {how}"


def mistakes(template: Template) -> Iterator[tuple[str, str, str]]:
    """Of each mistake: what it is, what the template does, and what is done here."""
    for number, (what, (theirs, ours)) in enumerate(MISTAKES.items()):
        short = f"T=50 updates=2 trainer.validate_every=2 val.sequences=10 test.sequences=10 logger=none {ours}"
        command = [sys.executable, "-m", "ffattn.train", *short.split(), f"run_dir={template.folder / 'own'}_{number}"]
        pipe = subprocess.PIPE
        own = subprocess.Popen(command, cwd=template.folder, stdout=pipe, stderr=pipe, text=True)
        yield f"{what}: `{theirs}`, `{ours}`", ending(template.start(f"mistake_{number}", theirs)), ending(own)


def rows(template: Template) -> Iterator[tuple[str, str]]:
    """What is done to a run, and what becomes of it."""
    yield "nothing", as_it_is(template)
    yield "a hostile checkpoint", after_a_hostile_checkpoint(template, trusts=False)
    yield "a hostile checkpoint, where it may read any", after_a_hostile_checkpoint(template, trusts=True)
    yield "SIGKILL in the middle of an epoch, and going on", after_a_kill(template)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        yield f"{number.name} in the middle of an epoch, and going on", after_a_signal(template, number)
    yield "a bit of a checkpoint altered", after_an_altered_bit(template)
    yield "hostile settings", after_hostile_settings(template)


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, help="the template")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        template = Template(options.clone, Path(folder), options.python)
        print("| what is done to it | what the template does |\n|---|---|")
        for name, found in rows(template):
            print(f"| {name} | {found} |", flush=True)
        print("\n| mistake | the template | here |\n|---|---|---|")
        for what, theirs, ours in mistakes(template):
            print(f"| {what} | {theirs} | {ours} |", flush=True)


if __name__ == "__main__":
    main()
