"""The evaluation of a checkpoint: what its settings leave open, what is checked before any work, and its result."""

import sys
import time
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ffattn.config.convert import to_settings, trusted_packages
from ffattn.config.errors import ConfigError
from ffattn.config.jobs import Finished
from ffattn.config.trained_schema import Evaluate
from ffattn.inference.checkpoint import sizes_of
from ffattn.inference.checkpoint_files import checkpoints_of
from ffattn.inference.evaluation import check_length, evaluate
from ffattn.inference.same_data import check_data
from ffattn.inference.trained import TrainedModel, load
from ffattn.rng.streams import Split, Stream
from ffattn.runs.console import print_header, print_metrics
from ffattn.runs.differences import differences
from ffattn.runs.result import FORMAT, RESULT, read_result, write_result
from ffattn.settings import to_plain
from ffattn.system.provenance import provenance
from ffattn.tasks import GivenTask


def prepare(kind: type, config: DictConfig, folder: Path, in_sweep: bool) -> Any:
    """Fill in what only the checkpoint knows, and check everything before any work.

    Args:
        kind: The settings: `Evaluate`, or what is derived from it.
        config: Their values.
        folder: The run directory.
        in_sweep: Whether it is one of a sweep.

    Returns:
        The settings, or `Finished` if a sweep's job has been evaluated already.

    Raises:
        ConfigError: Something is wrong.
    """
    OmegaConf.set_struct(config, False)
    trained = load(str(config.checkpoint), trusted_packages(config))
    _fill_in(kind, config, trained)
    settings: Any = to_settings(config, kind)
    settings.task.restore(trained.task.state())
    note = check_data(settings.task, trained.fingerprint, Split[settings.split.upper()])
    if isinstance(settings.task, GivenTask):
        _count(settings)
    settings.accelerator.check("32")
    _check_task(settings, trained)
    if in_sweep and _is_done(settings, folder):
        return Finished()
    if note:
        print(note, file=sys.stderr)
    if (folder / RESULT).exists() or checkpoints_of(folder).exists():
        raise ConfigError(f"{folder}: holds a run already; choose another hydra.{'sweep' if in_sweep else 'run'}.dir")
    return settings


def _fill_in(kind: Any, config: DictConfig, trained: TrainedModel) -> None:
    """Take what the command line leaves open from the checkpoint: T, seed, and the task but for its length."""
    if isinstance(trained.task, GivenTask):
        if config.sequences is not None and not kind.is_partial:
            raise ConfigError(f"sequences={config.sequences}: of given data all are evaluated; leave sequences out")
        _keep_lengths(config, trained.task)
    else:
        config.T = trained.task.length.T if config.T is None else config.T
    config.seed = trained.seed if config.seed is None else config.seed
    config.sequences = kind.sequences if config.sequences is None else config.sequences
    if "_target_" not in (config.get("task") or {}):
        own = {name: value for name, value in to_plain(trained.task).items() if name != "length"}
        config.task = OmegaConf.merge(own, config.get("task") or {})


def _keep_lengths(config: DictConfig, task: GivenTask) -> None:
    """Keep the lengths of given data, and the sizes of its parts."""
    if config.T is not None:
        raise ConfigError(f"T={config.T}: these sequences have their own lengths; leave T out")
    config.T = task.length.T
    config.task = OmegaConf.merge(config.get("task") or {}, {"length": None})
    config.task.length = to_plain(task.length)


def _count(settings: Any) -> None:
    """Evaluate all of given data, or as much as is looked at."""
    size = settings.task.size(Split[settings.split.upper()])
    settings.T = settings.task.length.T
    settings.sequences = min(size, settings.sequences) if settings.is_partial else size


def _check_task(settings: Any, trained: TrainedModel) -> None:
    if sizes_of(settings.task) != sizes_of(trained.task):
        raise ConfigError(
            f"task={settings.task.name}: needs another network than the checkpoint's, made for {trained.task.name}"
        )
    check_length(trained.network, settings.task)


def _is_done(settings: Any, folder: Path) -> bool:
    """Return whether a directory has the result of the same evaluation; refuse that of another one."""
    result = read_result(folder)
    if result is None:
        return False
    if changed := differences("", to_plain(settings), result["settings"]):
        where = "was evaluated with other settings; choose another hydra.sweep.dir"
        raise ConfigError("\n".join([f"{folder}: {where}", *(found.line("the result") for found in changed)]))
    return True


def evaluate_checkpoint(settings: Evaluate, folder: Path, quiet: bool = False) -> None:
    """Evaluate, and write `result.json`.

    Args:
        settings: As `prepare` returned them.
        folder: Where it is written.
        quiet: Whether to print nothing.
    """
    if settings.accelerator.num_threads is not None:
        torch.set_num_threads(settings.accelerator.num_threads)
    trained = load(settings.checkpoint, tuple(settings.trust), settings.accelerator.torch_device)
    console = Console(quiet=quiet)
    notes = settings.task.notes() if isinstance(settings.task, GivenTask) else []
    print_header(
        console,
        task=settings.task.summary(),
        **({"note": "; ".join(notes)} if notes else {}),
        model=trained.model.name,
        checkpoint=settings.checkpoint,
        written_to=folder,
    )
    result = _result_of(settings, trained)
    result = write_result(folder, result)
    print_metrics(console, {settings.split: result[settings.split]})


def _result_of(settings: Evaluate, trained: TrainedModel) -> dict[str, Any]:
    """Measure, and return what `result.json` holds."""
    started = time.monotonic()
    task = settings.task
    stream = Stream(settings.seed, Split[settings.split.upper()])
    means = evaluate(trained.network, task, stream, settings.sequences, settings.batch_size)
    return {
        "format": FORMAT,
        "checkpoint": settings.checkpoint,
        "task": task.name,
        "model": trained.model.name,
        "T": task.length.T,
        "seed": settings.seed,
        "sequences": settings.sequences,
        "seconds": time.monotonic() - started,
        settings.split: {**means, "baseline": task.baseline_on(stream.split)._asdict()},
        **provenance(settings.accelerator.torch_device),
        "settings": to_plain(settings),
    }
