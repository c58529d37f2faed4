"""`python -m ffattn.evaluate`: evaluate a checkpoint on any length, or on a variant of its task.

python -m ffattn.evaluate checkpoint=outputs/mine/checkpoints/best.ckpt T=10000 sequences=1000
"""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ffattn.config.command import run_command
from ffattn.config.jobs import Command, Finished

if TYPE_CHECKING:
    from ffattn.config.jobs import Sweep
    from ffattn.config.trained_schema import Evaluate


def _prepare(config: DictConfig, folder: Path, in_sweep: bool) -> "Evaluate | Finished":
    from ffattn.config.trained_schema import Evaluate, refuse_early

    refuse_early(config, Evaluate)
    from ffattn.runs.evaluating import prepare  # imports torch, which takes seconds: mistakes come first

    settings: Evaluate | Finished = prepare(Evaluate, config, folder, in_sweep)
    return settings


def _execute(settings: "Evaluate", folder: Path, in_sweep: bool) -> None:
    from ffattn.runs.evaluating import evaluate_checkpoint

    evaluate_checkpoint(settings, folder, quiet=in_sweep)


def _sweep() -> "Sweep":
    from ffattn.runs.outcomes import SWEEP

    return SWEEP


def main() -> None:
    """Run the command line."""
    run_command(Command("evaluate", _prepare, _execute, _sweep))


if __name__ == "__main__":
    main()
