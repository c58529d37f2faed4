"""The same as the commands, from Python."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffattn.checkpoint import Trained, load
from ffattn.settings import Settings
from ffattn.tasks import Task

if TYPE_CHECKING:
    from ffattn.config.schema import Train
    from ffattn.experiment import Run


def fit(*overrides: str, folder: str | Path | None = None, quiet: bool = False, **settings: object) -> "Run":
    """Train, as `python -m ffattn.train` does.

    Example:
        run = ffattn.fit(task="multiply", T=500, updates=20_000)
        run = ffattn.fit("model.hidden=64", "optim.lr=0.01", task="add")
        run = ffattn.fit(task=Multiply(length=Fixed(T=500)), model=FFAttention(hidden=64))
        run.result["test"]["solved"]; run.predict(x, lengths)

    Args:
        *overrides: As on the command line.
        folder: Run directory; a new one under `outputs` if not given.
        quiet: Whether to print nothing but progress.
        **settings: Root keys and groups, instead of `key=value`; a group may also be a settings object of your own.

    Returns:
        The finished run: its directory, its result, and its best network.

    Raises:
        ConfigError: Something given cannot work; the message has a line for each mistake.
        TrainingError: A loss was not finite.
    """
    from ffattn.runs import find_start

    checked = _settings(overrides, settings)
    place = Path("outputs") / f"{checked.task.name}_{checked.model.name}" / f"T{checked.T}"
    folder = Path(folder or place / time.strftime("%Y-%m-%d_%H-%M-%S"))
    start = find_start(checked, folder)
    from ffattn.experiment import Run, train  # imports Lightning, which takes seconds: mistakes come first

    return train(checked, folder, start, quiet) if start.result is None else Run(folder, start.result)


def _settings(overrides: tuple[str, ...], settings: dict[str, object]) -> "Train":
    from ffattn.config.command import compose_config
    from ffattn.config.convert import to_settings
    from ffattn.config.schema import Train

    objects: dict[str, Any] = {name: value for name, value in settings.items() if isinstance(value, Settings)}
    pairs = [f"{name}={'null' if value is None else value}" for name, value in settings.items() if name not in objects]
    if isinstance(task := objects.get("task"), Task):
        objects["T"] = task.length.T
    checked = replace(to_settings(compose_config("train", [*overrides, *pairs]), Train), **objects)
    checked.accelerator.check(checked.precision)
    return checked


__all__ = ["Trained", "fit", "load"]
