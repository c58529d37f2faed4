"""The same as the commands, from Python."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ffattn.checkpoint import Trained, load

if TYPE_CHECKING:
    from ffattn.experiment import Run


def fit(*overrides: str, folder: str | Path | None = None, quiet: bool = False, **settings: object) -> "Run":
    """Train, as `python -m ffattn.train` does.

    Example:
        run = ffattn.fit(task="multiply", T=500, updates=20_000)
        run = ffattn.fit("model.hidden=64", "optim.lr=0.01", task="add")
        run.result["test"]["solved"]; run.predict(x, lengths)

    Args:
        *overrides: As on the command line.
        folder: Run directory; a new one under `outputs` if not given.
        quiet: Whether to print nothing but progress.
        **settings: Root keys and groups, instead of `key=value`.

    Returns:
        The finished run: its directory, its result, and its best network.

    Raises:
        ConfigError: Something given cannot work; the message has a line for each mistake.
        TrainingError: A loss was not finite.
    """
    from ffattn.config.command import compose_config
    from ffattn.config.convert import to_settings
    from ffattn.config.schema import Train
    from ffattn.runs import find_start

    pairs = [f"{name}={'null' if value is None else value}" for name, value in settings.items()]
    checked = to_settings(compose_config("train", [*overrides, *pairs]), Train)
    checked.accelerator.check(checked.precision)
    name = f"{checked.task.name}_{checked.model.name}"
    folder = Path(folder or Path("outputs") / name / f"T{checked.T}" / time.strftime("%Y-%m-%d_%H-%M-%S"))
    start = find_start(checked, folder)
    from ffattn.experiment import Run, train  # imports Lightning, which takes seconds: mistakes come first

    if start.result is not None:
        return Run(folder, start.result)
    return train(checked, folder, start, quiet)


__all__ = ["Trained", "fit", "load"]
