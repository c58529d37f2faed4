"""What Lightning alone does under the tests of docs/reliability.md: a table.

python -m scripts.checks.plain_lightning
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

PROGRAM = """
import os, sys, time
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

class Plain(LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.seen = torch.nn.Linear(1, 1), []
    def training_step(self, batch, index):
        self.seen.append(int(batch[0][0, 0]))
        time.sleep(float(os.environ.get("PAUSE", 0)))
        return self.layer(batch[0]).square().mean()
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-4)

generator = torch.Generator().manual_seed(0)
numbers = torch.arange(40.0)[:, None]
loader = DataLoader(TensorDataset(numbers), 1, shuffle=True, generator=generator)
saving = ModelCheckpoint(sys.argv[1], "{step}", every_n_train_steps=10, save_top_k=-1)
module, stop = Plain(), int(sys.argv[2])
trainer = Trainer(
    max_steps=stop, max_epochs=-1, accelerator="cpu", logger=False, callbacks=[saving], enable_progress_bar=False,
    enable_model_summary=False, default_root_dir=sys.argv[1],
)
print("ready", flush=True)
trainer.fit(module, loader, ckpt_path=sys.argv[3] if len(sys.argv) > 3 else None)
print(module.seen, module.layer.weight.item(), flush=True)
"""


def start(folder: Path, updates: int, *arguments: str, pause: float = 0) -> subprocess.Popen[str]:
    """A run of plain Lightning in a process of its own.

    Args:
        folder: Of its checkpoints.
        updates: How many.
        *arguments: The checkpoint to go on from, if any.
        pause: Seconds that an update takes longer.
    """
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(folder), str(updates), *arguments]
    environment = os.environ | {"PAUSE": str(pause)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def last_line(run: subprocess.Popen[str]) -> str:
    """What a run prints at its end."""
    return run.communicate(timeout=120)[0].splitlines()[-1]


def after_a_signal(folder: Path, number: signal.Signals) -> str:
    """Status, and whether the update in which it came was saved."""
    run = start(folder, 1000, pause=0.05)
    while not list(folder.glob("*.ckpt")):
        time.sleep(0.05)
    time.sleep(0.2)
    run.send_signal(number)
    run.communicate(timeout=60)
    return f"status {run.returncode}; saved: {', '.join(sorted(path.name for path in folder.glob('*.ckpt')))}"


def after_going_on(folder: Path) -> str:
    """Whether a run that goes on in the middle of a shuffled epoch sees the batches that it would have seen."""
    straight = last_line(start(folder / "a", 40))
    resumed = last_line(start(folder / "b", 40, str(folder / "a" / "step=20.ckpt")))
    seen, rest = (line.partition("]")[0].strip("[").split(", ") for line in (straight, resumed))
    twice = len(set(seen[:20]) & set(rest))
    return f"of the 20 batches that were left, {20 - twice} are seen; {twice} are seen a second time"


def after_an_altered_bit(folder: Path) -> str:
    """Whether a checkpoint with another weight is noticed."""
    start(folder, 10).communicate(timeout=120)
    path = folder / "step=10.ckpt"
    weight = torch.load(path, weights_only=True)["state_dict"]["layer.weight"]
    data = bytearray(path.read_bytes())
    data[data.find(weight.numpy().tobytes())] ^= 1
    path.write_bytes(data)
    run = start(folder, 20, str(path))
    run.communicate(timeout=120)
    return "goes on with the altered weight" if not run.returncode else f"status {run.returncode}"


class Hostile:
    """Makes a folder when it is unpickled.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


def after_a_hostile_checkpoint(folder: Path) -> str:
    """Whether code in it is run, by fit without further arguments."""
    start(folder, 10).communicate(timeout=120)
    contents = torch.load(folder / "step=10.ckpt", weights_only=True)
    torch.save(contents | {"extra": Hostile(folder / "trace")}, folder / "hostile.ckpt")
    run = start(folder, 20, str(folder / "hostile.ckpt"))
    run.communicate(timeout=120)
    was_run = "its code is run" if (folder / "trace").exists() else "its code is not run"
    return f"{was_run}; status {run.returncode}"


def rows() -> Iterator[tuple[str, str]]:
    """What is done to a run, and what becomes of it."""
    tests: dict[str, Callable[[Path], str]] = {
        "SIGTERM": lambda folder: after_a_signal(folder, signal.SIGTERM),
        "SIGINT": lambda folder: after_a_signal(folder, signal.SIGINT),
        "SIGUSR1": lambda folder: after_a_signal(folder, signal.SIGUSR1),
        "going on in the middle of an epoch": after_going_on,
        "a bit of a checkpoint altered": after_an_altered_bit,
        "a hostile checkpoint": after_a_hostile_checkpoint,
    }
    for name, test in tests.items():
        with tempfile.TemporaryDirectory() as folder:
            yield name, test(Path(folder))


def main() -> None:
    """Print a Markdown table."""
    print("| what is done to it | what Lightning alone does |\n|---|---|")
    for name, found in rows():
        print(f"| {name} | {found} |", flush=True)


if __name__ == "__main__":
    main()
