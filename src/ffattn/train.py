"""`python -m ffattn.train`: train a model on a task.

python -m ffattn.train task=multiply model=ffattn T=10000
python -m ffattn.train -m task=add,multiply optim.lr=0.001,0.003
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from ffattn.config.command import run_command
from ffattn.config.jobs import Command, Finished

if TYPE_CHECKING:
    from ffattn.config.jobs import Sweep
    from ffattn.config.schema import Train
    from ffattn.runs.resuming import Start


class _Job(NamedTuple):
    settings: "Train"
    start: "Start"


def _prepare(config: DictConfig, folder: Path, in_sweep: bool) -> _Job | Finished:
    """Check everything that can be checked without Lightning, which takes seconds to import, and most without torch.

    A sweep that is started again goes on where it was.
    """
    from ffattn.config.convert import to_settings
    from ffattn.config.errors import ConfigError
    from ffattn.config.schema import Train
    from ffattn.system.ranks import world

    settings = to_settings(config, Train)
    from ffattn.runs.resuming import FRESH, find_start  # imports torch, which takes seconds: mistakes come first

    settings.accelerator.check(settings.precision)
    if world().size > 1 and in_sweep:
        raise ConfigError(f"-m: start a sweep without {world().starter}; each job starts its own accelerator.devices")
    if world().rank > 0:  # the first process looks at the directory, and tells the others
        return _Job(settings, FRESH)
    if in_sweep and settings.resume is None:
        settings.resume = "last"
    start = find_start(settings, folder)
    if start.result is None or world().size > 1:  # the others are to hear of a result
        return _Job(settings, start)
    if not in_sweep:
        _say_finished(start)
    is_longer = start.result["updates"] > settings.updates
    return Finished(f"made {start.result['updates']} updates, not {settings.updates}" if is_longer else "")


def _say_finished(start: "Start") -> None:
    from rich.console import Console

    from ffattn.runs.console import print_result

    assert start.result is not None
    print("This run has finished already; a larger updates=... continues one that is not solved.")
    print_result(Console(), start.result, start.source)


def _execute(job: _Job, folder: Path, in_sweep: bool) -> None:
    from ffattn.runs.training import train
    from ffattn.system.quick_start import freeze_imports

    freeze_imports()
    train(job.settings, folder, job.start, quiet=in_sweep)
    if job.start.result is not None:
        _say_finished(job.start)


def _sweep() -> "Sweep":
    from ffattn.runs.outcomes import SWEEP

    return SWEEP


def _interrupted(folder: Path) -> str:
    from ffattn.runs.resuming import interrupted

    return interrupted(folder)


COMMAND = Command("train", _prepare, _execute, _sweep, _interrupted)


def main() -> None:
    """The command line."""
    run_command(COMMAND)


if __name__ == "__main__":
    main()
