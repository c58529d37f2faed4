"""A training run from settings to result."""

import shutil
import signal
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from torch import Tensor

from ffattn.config.schema import ACCUMULATE, IGNORE, PARAMETERS, QUIET, TIME, Train
from ffattn.inference.checkpoint import BEST, KEY, LAST, Numbers, Trained, checkpoints_of, load, load_weights, read
from ffattn.inference.metrics import KEPT
from ffattn.lightning import CapturedModule, DividedModule, PartedModule, SequenceData, SequenceModule, ShardedModule
from ffattn.lightning.callbacks.checkpoints import Checkpoints
from ffattn.lightning.callbacks.progress import Curves, Watch
from ffattn.lightning.callbacks.signals import Interruptions, save_run
from ffattn.lightning.launch import from_first, launch, together
from ffattn.lightning.loggers import close, make_loggers
from ffattn.lightning.trainer import make_trainer, quiet_lightning, threads
from ffattn.runs.result import print_header, print_result, read_result, write_result
from ffattn.runs.resuming import FRESH, Start, interrupted, settle, updates_to_beat
from ffattn.settings import TARGET, to_plain
from ffattn.system import signals
from ffattn.system.denormals import flushed_denormals
from ffattn.system.out_of_memory import memory_errors
from ffattn.system.provenance import device_name, peak_memory_mb, provenance
from ffattn.system.ranks import world
from ffattn.tasks import GivenTask


@dataclass
class Run:
    """A finished run.

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

    def load(self) -> Trained:
        """The best network, ready to predict."""
        targets = [self.result["settings"][part][TARGET] for part in ("task", "model")]
        return load(self.checkpoint, trust=tuple(target.partition(".")[0] for target in targets))

    def predict(self, x: Numbers, lengths: Numbers | None = None) -> Tensor:
        """Answers of the best network (see `Trained.predict`)."""
        return self.load().predict(x, lengths)


def train(settings: Train, folder: Path, start: Start = FRESH, quiet: bool = False) -> Run:
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
        _launch(settings, folder, start, quiet)
        result = read_result(folder)
        assert result is not None
        return Run(folder, result)
    quiet = quiet or settings.trainer.progress == QUIET
    quiet_lightning()
    with together(settings.accelerator.resolved):
        folder, start = from_first((folder, settle(start)))
        result = start.result or _train(settings, folder, start, Console(quiet=quiet or world().rank > 0))
    return Run(folder, result)


def _launch(settings: Train, folder: Path, start: Start, quiet: bool) -> None:
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
    options = settings.trainer
    device, is_first = settings.accelerator.torch_device, world().rank == 0
    with flushed_denormals(), threads(settings.accelerator.num_threads), _preserved_generators(device):
        origin = provenance(device)  # now: the checkout may change while it runs
        module = make_module(settings)
        module.updates_before = start.update
        _print_header(console, settings, module, folder)
        trainer, data = trainer_of(settings, folder, start.update, is_first), make_data(settings)
        try:
            with memory_errors(settings.batch_size, options.accumulate, options.on_oom == ACCUMULATE):
                if not start.is_trained:
                    _fit(trainer, module, data, start, folder)
                test = _test(trainer, module, data, folder)
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
        write_result(folder, result)
    print_result(console, result, folder)
    return result


def _preserved_generators(device: torch.device) -> AbstractContextManager[None]:
    """Training seeds torch's generators, which may be a notebook's."""
    return torch.random.fork_rng([torch.cuda.current_device()] if device.type == "cuda" else [])


def _fit(trainer: Trainer, module: SequenceModule, data: SequenceData, start: Start, folder: Path) -> None:
    if start.best is not None and trainer.is_global_zero:
        checkpoints_of(folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(start.best, checkpoints_of(folder) / BEST)
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    trainer.fit(module, data, ckpt_path=start.checkpoint, weights_only=True)


def status_of(stop: SystemExit) -> int:
    """The exit status of a run that a signal has ended.

    Args:
        stop: What came out of Lightning: the one of `Interruptions`, or, before training has begun, Lightning's end of
            SIGTERM with status 0 and of Ctrl-C with status 1.
    """
    if isinstance(stop, SIGTERMException):
        return 128 + signal.SIGTERM
    return stop.code if isinstance(stop.code, int) and stop.code > 1 else 128 + signal.SIGINT


def _kind(settings: Train) -> type[SequenceModule]:
    accelerator = settings.accelerator
    if settings.trainer.on_oom == ACCUMULATE:
        return PartedModule
    if accelerator.processes > 1:
        return {TIME: DividedModule, PARAMETERS: ShardedModule}.get(accelerator.divide, SequenceModule)
    return CapturedModule if accelerator.cuda_graph else SequenceModule


def make_module(settings: Train, kind: type[SequenceModule] | None = None) -> SequenceModule:
    """What is trained, with the weights that a fresh run starts from.

    Args:
        settings: The run.
        kind: The class, if not what the settings ask for.
    """
    is_mixed = settings.precision.endswith("mixed")
    fused = not (is_mixed and settings.trainer.gradient_clip is not None)  # Lightning refuses the three together
    kind = kind or _kind(settings)
    module = kind(
        settings.task, settings.model, optim=settings.optim, seed=settings.seed, updates=settings.updates, fused=fused
    )
    if settings.precision == "64":
        module.double()  # Lightning does so after it has loaded a checkpoint, which would be rounded
    if settings.init_from is not None:
        load_weights(module.network, read(settings.init_from), settings.init_from)
    return module


def make_data(settings: Train) -> SequenceData:
    """The run's stream of batches.

    Args:
        settings: The run.
    """
    options = settings.trainer
    return SequenceData(
        settings.task,
        seed=settings.seed,
        batch_size=settings.batch_size,
        sequences=options.sequences or 0,
        epoch=settings.epoch,
        accumulate=options.accumulate,
        distinct_batches=options.distinct_batches,
        divides_time=settings.accelerator.divide == TIME,
    )


def trainer_of(settings: Train, folder: Path, update: int = 0, is_first: bool = True) -> Trainer:
    """What trains the run: Lightning's Trainer with loggers, checkpoints, curves and progress.

    Args:
        settings: The run.
        folder: Where it is written.
        update: How many updates have been made.
        is_first: Whether this is the process that writes.
    """
    options, plain, accelerator = settings.trainer, to_plain(settings), settings.accelerator
    is_sharded = accelerator.divide == PARAMETERS and accelerator.processes > 1
    kind, is_optional = settings.logger.kind if is_first else "none", settings.logger.on_error == IGNORE
    return make_trainer(
        folder,
        make_loggers(kind, folder, plain, update, is_optional),
        [
            Curves(options.log_every),
            Watch(options.progress if is_first else "none", settings.updates, Console(stderr=True)),
            make_checkpoints(settings, folder),
            Interruptions(partial(save_run, checkpoints_of(folder) / LAST, is_sharded), is_sharded),
            *_pictures(settings, folder, is_first),
        ],
        device=accelerator.resolved,
        devices=accelerator.devices,
        num_nodes=accelerator.num_nodes,
        is_sharded=is_sharded,
        precision=settings.precision,
        updates=settings.updates,
        accumulate=options.accumulate,
        gradient_clip=options.gradient_clip,
        ema_decay=options.ema_decay,
        detect_anomaly=options.detect_anomaly,
        profiler=options.profiler if is_first else "none",
    )


def _pictures(settings: Train, folder: Path, is_first: bool) -> list[Callback]:
    if settings.trainer.pictures is None or not is_first:
        return []
    from ffattn.lightning.callbacks.figures import Pictures

    return [Pictures(settings.trainer.pictures, settings.seed, folder / "pictures")]


def make_checkpoints(settings: Train, folder: Path) -> Checkpoints:
    """What writes the run's checkpoints, and decides when it has been trained.

    Args:
        settings: The run.
        folder: Where it is written.
    """
    return Checkpoints(
        checkpoints_of(folder),
        to_plain(settings),
        settings.updates,
        settings.trainer.stop_when_solved,
        patience=settings.trainer.patience,
        data=settings.task.state(),
        to_beat=partial(updates_to_beat, settings, folder) if settings.trainer.race else None,
    )


def _test(trainer: Trainer, module: SequenceModule, data: SequenceData, folder: Path) -> dict[str, float]:
    """Read the test set once, with the best weights."""
    best = checkpoints_of(folder) / BEST
    module.load(read(best), best)
    trainer.test(module, data, verbose=False)
    return {name: value for name, value in module.latest.items() if name in KEPT}


def _result(settings: Train, about: dict[str, Any], module: SequenceModule, test: dict[str, float]) -> dict[str, Any]:
    floor = settings.task.floor()._asdict()
    device = settings.accelerator.torch_device
    return {
        "task": settings.task.name,
        "model": settings.model.name,
        "processes": settings.accelerator.processes,
        "T": settings.task.length.T,
        "seed": settings.seed,
        "parameters": _num_parameters(module),
        "updates": about["update"],
        "epochs": about["update"] / settings.epoch,
        "stopped_because": about["stopped_because"],
        "seconds": about["seconds"],
        "updates_per_second": about["update"] / about["seconds"],
        "peak_memory_mb": peak_memory_mb(device),
        "val": about["best"] | {"floor": floor},
        "test": test | {"floor": floor},
    }


def _num_parameters(module: SequenceModule) -> int:
    return sum(parameter.numel() for parameter in module.network.parameters())


def _print_header(console: Console, settings: Train, module: SequenceModule, folder: Path) -> None:
    count = settings.accelerator.processes
    processes = f", {count} processes" if count > 1 else ""
    about = settings.task.describe() if isinstance(settings.task, GivenTask) else {}
    print_header(
        console,
        task=settings.task.summary(),
        **about,
        model=f"{settings.model.name}, {_num_parameters(module):,} parameters",
        device=f"{device_name(settings.accelerator.torch_device)}{processes}, precision {settings.precision}",
        written_to=folder,
    )
