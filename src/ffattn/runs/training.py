"""A training run from settings to result."""

import shutil
import signal
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch import Tensor

from ffattn.config.schema import ACCUMULATE, QUIET, Train
from ffattn.inference.checkpoint import read
from ffattn.inference.checkpoint_files import BEST, KEY, LAST, checkpoints_of
from ffattn.inference.metric_names import is_result_metric
from ffattn.inference.trained import TrainedModel, load
from ffattn.lightning import SequenceData, SequenceModule
from ffattn.lightning.launch import launch
from ffattn.lightning.loggers import close
from ffattn.lightning.process_group import from_first, together
from ffattn.lightning.trainer import quiet_lightning, threads
from ffattn.rng.streams import Split
from ffattn.runs.building import make_data, make_module, trainer_of
from ffattn.runs.console import print_header, print_result
from ffattn.runs.result import FORMAT, read_result, updates_to_solve, write_result
from ffattn.runs.resuming import FRESH, Start, interrupted, settle
from ffattn.runs.starting_weights import check_init_from
from ffattn.settings import TARGET, to_plain
from ffattn.system import signals
from ffattn.system.denormals import flushed_denormals
from ffattn.system.out_of_memory import memory_errors
from ffattn.system.provenance import device_name, peak_memory_mb, provenance
from ffattn.system.ranks import world
from ffattn.tasks import GivenTask


@dataclass
class TrainedRun:
    """A finished run, as `ffattn.fit` returns it.

    Attributes:
        folder: The run directory.
        result: What `result.json` holds.
    """

    folder: Path
    result: dict[str, Any] = field(repr=False)

    @property
    def checkpoint(self) -> Path:
        """The best checkpoint."""
        return checkpoints_of(self.folder) / BEST

    def load(self) -> TrainedModel:
        """Load the best network, ready to predict."""
        targets = [self.result["settings"][part][TARGET] for part in ("task", "model")]
        return load(self.checkpoint, trust=tuple(target.partition(".")[0] for target in targets))

    def predict(self, x: Any, lengths: Any = None) -> Tensor | np.ndarray:
        """Return the answers of the best network (see `TrainedModel.predict`)."""
        return self.load().predict(x, lengths)


def train(settings: Train, folder: Path, start: Start = FRESH, quiet: bool = False) -> TrainedRun:
    """Train, test the best weights, and write `result.json`.

    Args:
        settings: The run.
        folder: Where it is written.
        start: Where to start from, as `find_start` returned it.
        quiet: Whether to print nothing but progress.

    Returns:
        The finished run.

    Raises:
        TrainingError: A loss was not finite, memory did not suffice, or a disk could not be written to.
    """
    if settings.accelerator.processes > 1 and world().size == 1:
        _train_in_processes(settings, folder, start, quiet)
        result = read_result(folder)
        assert result is not None
        return TrainedRun(folder, result)
    quiet = quiet or settings.trainer.progress == QUIET
    quiet_lightning()
    with together(settings.accelerator.resolved):
        folder, start = from_first((folder, settle(start)))
        result = start.result or _train(settings, folder, start, Console(quiet=quiet or world().rank > 0))
    return TrainedRun(folder, result)


def _train_in_processes(settings: Train, folder: Path, start: Start, quiet: bool) -> None:
    """Run `train` in several processes."""
    count = settings.accelerator.devices
    threads = settings.accelerator.num_threads or max(1, torch.get_num_threads() // count)
    accelerator = replace(settings.accelerator, num_threads=threads)
    try:
        launch(train, count, replace(settings, accelerator=accelerator), folder, start, quiet)
    except SystemExit as stop:
        if not quiet:
            signals.say(interrupted(folder))
        sys.exit(stop.code)


def _train(settings: Train, folder: Path, start: Start, console: Console) -> dict[str, Any]:
    device = settings.accelerator.torch_device
    is_first = world().rank == 0
    with flushed_denormals(), threads(settings.accelerator.num_threads), _preserved_generators(device):
        origin = provenance(device)  # now: the checkout may change while it runs
        module = make_module(settings)
        module.updates_before = start.update
        _print_header(console, settings, module, folder, start)
        trainer = trainer_of(settings, folder, start.update, is_first)
        try:
            test = _fit_and_test(settings, trainer, module, start, folder)
        except SystemExit as stop:
            if not console.quiet:  # a sweep has a word of its own
                signals.say(interrupted(folder))
            sys.exit(status_of(stop))
        finally:
            close(trainer.loggers)
    about = read(checkpoints_of(folder) / LAST)[KEY]
    result = _result(settings, about, module, test) | origin
    result |= {"settings": to_plain(settings), "validations": about["history"]}
    if is_first:
        result = write_result(folder, result)
    print_result(console, result, folder)
    return result


def _fit_and_test(
    settings: Train, trainer: Trainer, module: SequenceModule, start: Start, folder: Path
) -> dict[str, float]:
    """Train, unless that has been done; return the scores of the test set."""
    options = settings.trainer
    data = make_data(settings)
    with memory_errors(settings.batch_size, options.accumulate, options.on_oom == ACCUMULATE):
        if not start.is_trained:
            _run_trainer(trainer, module, data, start, folder)
        return _test(trainer, module, data, folder)


def _preserved_generators(device: torch.device) -> AbstractContextManager[None]:
    """Preserve torch's generators, which training seeds, and which may be a notebook's."""
    return torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else [])


def _run_trainer(trainer: Trainer, module: SequenceModule, data: SequenceData, start: Start, folder: Path) -> None:
    if start.best is not None and trainer.is_global_zero:
        checkpoints_of(folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(start.best, checkpoints_of(folder) / BEST)
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.fit(module, data, ckpt_path=start.checkpoint, weights_only=True)


def status_of(stop: SystemExit) -> int:
    """Return the exit status of a run that a signal has ended.

    Args:
        stop: What came out of Lightning: the one of `Interruptions`, or, before training has begun, Lightning's end of
            SIGTERM with status 0 and of Ctrl-C with status 1.
    """
    if isinstance(stop, SIGTERMException):
        return 128 + signal.SIGTERM
    return stop.code if isinstance(stop.code, int) and stop.code > 1 else 128 + signal.SIGINT


def _test(trainer: Trainer, module: SequenceModule, data: SequenceData, folder: Path) -> dict[str, float]:
    """Read the test set once, with the best weights."""
    best = checkpoints_of(folder) / BEST
    module.load(read(best), best)
    trainer.test(module, data, verbose=False)
    return {name: value for name, value in module.latest.items() if is_result_metric(name)}


def _result(settings: Train, about: dict[str, Any], module: SequenceModule, test: dict[str, float]) -> dict[str, Any]:
    baselines = {split: settings.task.baseline_on(split)._asdict() for split in (Split.VAL, Split.TEST)}
    device = settings.accelerator.torch_device
    return {
        "format": FORMAT,
        "task": settings.task.name,
        "model": settings.model.name,
        "processes": settings.accelerator.processes,
        "T": settings.task.length.T,
        "seed": settings.seed,
        "parameters": _num_parameters(module),
        "updates": about["update"],
        "stopped_because": about["stopped_because"],
        "solved": about["best"]["accuracy"] == 1,
        "updates_to_solve": updates_to_solve(about["history"], about["best"]),
        "seconds": about["seconds"],
        "updates_per_second": about["update"] / about["seconds"],
        "peak_memory_mb": peak_memory_mb(device),
        "val": about["best"] | {"baseline": baselines[Split.VAL]},
        "test": test | {"baseline": baselines[Split.TEST]},
    }


def _num_parameters(module: SequenceModule) -> int:
    return sum(parameter.numel() for parameter in module.network.parameters())


def _print_header(console: Console, settings: Train, module: SequenceModule, folder: Path, start: Start) -> None:
    count = settings.accelerator.processes
    processes = f", {count} processes" if count > 1 else ""
    about = settings.task.describe() if isinstance(settings.task, GivenTask) else {}
    if note := check_init_from(settings):
        about["weights"] = f"of {settings.init_from}: {note}"
    if start.note:
        about["resumed"] = start.note
    print_header(
        console,
        task=settings.task.summary(),
        **about,
        model=f"{settings.model.name}, {_num_parameters(module):,} parameters",
        device=f"{device_name(settings.accelerator.torch_device)}{processes}, precision {settings.precision}",
        written_to=folder,
    )
