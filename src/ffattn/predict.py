"""`python -m ffattn.predict`: write a trained network's answers for the sequences of a file.

python -m ffattn.predict checkpoint=outputs/mine/checkpoints/best.ckpt input=new.csv output=answers.csv
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ffattn.config.command import run_tool

if TYPE_CHECKING:
    from ffattn.config.trained_schema import Predict


def run(config: DictConfig) -> None:
    """Write the answers.

    What has been written lies beside the output until everything is there, and is gone on with by the same command.

    Args:
        config: The command's configuration.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The input cannot be used.
    """
    from ffattn.config.convert import to_settings, trusted_packages
    from ffattn.config.trained_schema import Predict
    from ffattn.errors import DataError
    from ffattn.inference.checkpoint_files import require_file

    trust = trusted_packages(config)
    settings = to_settings(config, Predict)
    require_file(settings.checkpoint)
    from ffattn.inference.columns import NOT_FINITE, PROBLEM, preparation_of
    from ffattn.inference.on_files import predict, read_inputs
    from ffattn.inference.output_files import OutputFile
    from ffattn.inference.trained import load  # imports torch, which takes seconds: mistakes come first

    settings.accelerator.check("32")
    trained = load(settings.checkpoint, trust, settings.accelerator.torch_device)
    inputs = read_inputs(Path(settings.input), trained.task, settings.id, settings.time, settings.text)
    total = inputs.sequences
    for note in inputs.notes:
        print(f"{settings.input}: {note}", file=sys.stderr)
    if inputs.wrong and settings.on_error == "stop":
        first = inputs.problems[0]
        raise DataError(f"{first} ({inputs.wrong} of {total} sequences cannot be used; on_error=skip goes on)")
    output = OutputFile(Path(settings.output), preparation_of(trained.task), settings.weights)
    start = output.resume(_identity(settings))
    not_finite = 0
    with output.writer() as write, _progress(total, start) as advance:
        for row in predict(trained, inputs.pieces, weights=settings.weights, start=start):
            write(row)
            not_finite += row[PROBLEM] == NOT_FINITE
            advance()
    output.finish()
    skipped = f", {inputs.wrong} sequences skipped" if inputs.wrong else ""
    skipped += f", {not_finite} of them empty ({NOT_FINITE})" if not_finite else ""
    print(f"{output.path}: {total - inputs.wrong} answers{skipped}")
    for problem in inputs.problems:
        print(f"skipped: {problem}", file=sys.stderr)


def _identity(settings: "Predict") -> dict[str, Any]:
    """What must be the same for a half-written file to be gone on with."""
    files = {name: os.stat(name) for name in (settings.checkpoint, settings.input)}
    about = {name: [found.st_size, found.st_mtime] for name, found in files.items()}
    decisive = ("id", "time", "header", "decimal", "encoding", "on_error", "weights")
    return about | {name: getattr(settings, name) for name in decisive}


@contextmanager
def _progress(total: int, start: int) -> Iterator[Callable[[], None]]:
    """Show a bar in a terminal, and nothing elsewhere; yields what moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("", total=total, completed=start)
        yield lambda: bar.advance(shown)


def main() -> None:
    """The command line."""
    run_tool("predict", run)


if __name__ == "__main__":
    main()
