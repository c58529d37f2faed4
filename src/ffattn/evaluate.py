"""`python -m ffattn.evaluate`: evaluate a checkpoint on any length, or on a variant of its task.

python -m ffattn.evaluate checkpoint=outputs/mine/checkpoints/best.ckpt T=10000 sequences=1000
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from ffattn.config.command import run_command
from ffattn.config.errors import ConfigError
from ffattn.config.jobs import Command, Finished

if TYPE_CHECKING:
    from ffattn.config.jobs import Sweep
    from ffattn.config.schema import Evaluate
    from ffattn.inference.checkpoint import TrainedModel
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
    from ffattn.config.convert import to_settings, trusted_packages
    from ffattn.inference.checkpoint import checkpoints_of, load, sizes_of
    from ffattn.inference.evaluation import check_length
    from ffattn.runs.result import RESULT, read_result
    from ffattn.runs.resuming import differences
    from ffattn.settings import to_plain
    from ffattn.tasks import GivenTask

    if OmegaConf.is_missing(config, "checkpoint"):
        raise ConfigError("checkpoint: missing; give checkpoint=PATH")
    OmegaConf.set_struct(config, False)
    trained = load(str(config.checkpoint), trusted_packages(config))
    _fill_in(kind, config, trained)
    settings: Any = to_settings(config, kind)
    settings.task.restore(trained.task.state())
    if isinstance(settings.task, GivenTask):
        _count(settings)
    settings.accelerator.check("32")
    if sizes_of(settings.task) != sizes_of(trained.task):
        raise ConfigError(
            f"task={settings.task.name}: needs another network than the checkpoint's, made for {trained.task.name}"
        )
    check_length(trained.network, settings.task)
    if in_sweep and (result := read_result(folder)) is not None:
        changed = differences("", to_plain(settings), result["settings"])
        if not changed:
            return Finished()
        lines = [f"{line}: the result has {old}" for line, old in changed]
        where = "was evaluated with other settings; choose another hydra.sweep.dir"
        raise ConfigError("\n".join([f"{folder}: {where}", *lines]))
    if (folder / RESULT).exists() or checkpoints_of(folder).exists():
        raise ConfigError(f"{folder}: holds a run already; choose another hydra.{'sweep' if in_sweep else 'run'}.dir")
    return settings


def _prepare(config: DictConfig, folder: Path, in_sweep: bool) -> "Evaluate | Finished":
    from ffattn.config.schema import Evaluate

    settings: Evaluate | Finished = prepare(Evaluate, config, folder, in_sweep)
    return settings


def _fill_in(kind: Any, config: DictConfig, trained: "TrainedModel") -> None:
    """What the command line leaves open is the checkpoint's: T, seed, and the task but for its length."""
    from ffattn.settings import to_plain
    from ffattn.tasks import GivenTask

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


def _keep_lengths(config: DictConfig, task: "GivenTask") -> None:
    """Given data has its own lengths, and parts that are as large as they are."""
    from ffattn.settings import to_plain

    if config.T is not None:
        raise ConfigError(f"T={config.T}: these sequences have their own lengths; leave T out")
    length, config.T = to_plain(task.length), task.length.T
    config.task = OmegaConf.merge(config.get("task") or {}, {"length": None})
    config.task.length = length


def _count(settings: Any) -> None:
    """Of given data all is evaluated, or as much as is looked at."""
    from ffattn.rng.streams import Split

    size = settings.task.size(Split[settings.split.upper()])
    settings.T = settings.task.length.T
    settings.sequences = min(size, settings.sequences) if settings.is_partial else size


def _execute(settings: "Evaluate", folder: Path, in_sweep: bool) -> None:
    import torch
    from rich.console import Console

    from ffattn.inference.checkpoint import load
    from ffattn.runs.console import metrics_table, print_header
    from ffattn.runs.result import write_result

    if settings.accelerator.num_threads is not None:
        torch.set_num_threads(settings.accelerator.num_threads)
    trained = load(settings.checkpoint, tuple(settings.trust), settings.accelerator.torch_device)
    console, task, model = Console(quiet=in_sweep), settings.task, trained.model.name
    print_header(console, task=task.summary(), model=model, checkpoint=settings.checkpoint, written_to=folder)
    result = _evaluate(settings, trained)
    write_result(folder, result)
    console.print(metrics_table({settings.split: result[settings.split]}))


def _evaluate(settings: "Evaluate", trained: "TrainedModel") -> dict[str, Any]:
    from ffattn.inference.evaluation import evaluate
    from ffattn.rng.streams import Split, Stream
    from ffattn.runs.result import FORMAT
    from ffattn.settings import to_plain
    from ffattn.system.provenance import provenance

    task, started = settings.task, time.monotonic()
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
        settings.split: {**means, "baseline": task.baseline()._asdict()},
        **provenance(settings.accelerator.torch_device),
        "settings": to_plain(settings),
    }


def sweep() -> "Sweep":
    """What is done around the jobs of a sweep."""
    from ffattn.runs.outcomes import SWEEP

    return SWEEP


def main() -> None:
    """The command line."""
    run_command(Command("evaluate", _prepare, _execute, sweep))


if __name__ == "__main__":
    main()
