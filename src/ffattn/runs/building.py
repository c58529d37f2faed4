"""What the settings of a run stand for: its module, data, loggers, checkpoints and Trainer."""

from functools import partial
from pathlib import Path

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger
from rich.console import Console

from ffattn.config.schema import ACCUMULATE, IGNORE, PARAMETERS, TIME, Train
from ffattn.inference.checkpoint import load_weights, read
from ffattn.inference.checkpoint_files import LAST, checkpoints_of
from ffattn.lightning import CapturedModule, DividedModule, PartedModule, SequenceData, SequenceModule, ShardedModule
from ffattn.lightning.callbacks.checkpoints import Checkpoints
from ffattn.lightning.callbacks.curves import Curves
from ffattn.lightning.callbacks.progress import RunProgress
from ffattn.lightning.callbacks.signals import Interruptions, save_run
from ffattn.lightning.callbacks.stopping import StopRule
from ffattn.lightning.loggers import make_loggers
from ffattn.lightning.trainer import make_trainer
from ffattn.runs.racing import updates_to_beat
from ffattn.settings import to_plain
from ffattn.tasks import GivenTask


def make_module(settings: Train, kind: type[SequenceModule] | None = None) -> SequenceModule:
    """Make the module that is trained, with the weights that a fresh run starts from.

    Args:
        settings: The run.
        kind: The class, if not what the settings ask for.
    """
    kind = kind or _module_kind(settings)
    module = kind(settings.task, settings.model, optim=settings.optim, seed=settings.seed, updates=settings.updates)
    if settings.precision == "64":
        module.double()  # Lightning does so after it has loaded a checkpoint, which would be rounded
    if settings.init_from is not None:
        load_weights(module.network, read(settings.init_from), settings.init_from)
    return module


def _module_kind(settings: Train) -> type[SequenceModule]:
    accelerator = settings.accelerator
    if settings.trainer.on_oom == ACCUMULATE:
        return PartedModule
    if accelerator.processes > 1:
        return {TIME: DividedModule, PARAMETERS: ShardedModule}.get(accelerator.divide, SequenceModule)
    return CapturedModule if accelerator.cuda_graph else SequenceModule


def make_data(settings: Train) -> SequenceData:
    """Make the run's stream of batches.

    Args:
        settings: The run.
    """
    options = settings.trainer
    return SequenceData(
        settings.task,
        seed=settings.seed,
        batch_size=settings.batch_size,
        sequences=options.sequences or 0,
        validate_every=settings.validate_every,
        distinct_batches=options.distinct_batches,
        divides_time=settings.accelerator.divide == TIME,
    )


def loggers_of(settings: Train, folder: Path, update: int = 0) -> list[Logger]:
    """Make the run's loggers.

    Args:
        settings: The run.
        folder: Where it is written.
        update: How many updates have been made.

    Raises:
        TrainingError: A logger cannot write, unless that is to be ignored.
    """
    is_optional = settings.logger.on_error == IGNORE
    return make_loggers(settings.logger.kind, folder, to_plain(settings), update, is_optional)


def make_checkpoints(settings: Train, folder: Path) -> Checkpoints:
    """Make what writes the run's checkpoints, and decides when it has been trained.

    Args:
        settings: The run.
        folder: Where it is written.
    """
    options = settings.trainer
    to_beat = partial(updates_to_beat, settings, folder) if options.race else None
    rule = StopRule(settings.updates, options.stop_when_solved, options.patience, options.min_updates, to_beat)
    task = settings.task
    fingerprint = task.fingerprint() if isinstance(task, GivenTask) else {}
    return Checkpoints(checkpoints_of(folder), to_plain(settings), rule, task.state(), fingerprint)


def trainer_of(settings: Train, folder: Path, update: int = 0, is_first: bool = True) -> Trainer:
    """Make the run's Trainer, with loggers, checkpoints, curves and progress.

    Args:
        settings: The run.
        folder: Where it is written.
        update: How many updates have been made.
        is_first: Whether this is the process that writes.
    """
    options = settings.trainer
    accelerator = settings.accelerator
    is_sharded = _is_sharded(settings)
    return make_trainer(
        folder,
        loggers_of(settings, folder, update) if is_first else [],
        _callbacks(settings, folder, is_first),
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


def _is_sharded(settings: Train) -> bool:
    return settings.accelerator.divide == PARAMETERS and settings.accelerator.processes > 1


def _callbacks(settings: Train, folder: Path, is_first: bool) -> list[Callback]:
    options = settings.trainer
    is_sharded = _is_sharded(settings)
    return [
        Curves(options.log_every),
        RunProgress(options.progress if is_first else "none", settings.updates, Console(stderr=True)),
        make_checkpoints(settings, folder),
        Interruptions(partial(save_run, checkpoints_of(folder) / LAST, is_sharded), is_sharded),
        *(_picture_callbacks(settings, folder) if is_first else []),
    ]


def _picture_callbacks(settings: Train, folder: Path) -> list[Callback]:
    if settings.trainer.pictures is None:
        return []
    from ffattn.lightning.callbacks.figures import Pictures

    return [Pictures(settings.trainer.pictures, settings.seed, folder / "pictures")]
