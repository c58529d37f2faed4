"""The same as the commands, from Python."""

import itertools
import re
import typing
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffattn.errors import SettingError
from ffattn.inference.trained import TrainedModel, load
from ffattn.settings import TARGET, Settings
from ffattn.tasks import Arrays, GivenTask

if TYPE_CHECKING:
    from ffattn.config.schema import Train
    from ffattn.runs.training import TrainedRun


def fit(
    *given: Any,
    lengths: Any = None,
    folder: str | Path | None = None,
    quiet: bool = False,
    **settings: object,
) -> "TrainedRun":
    """Train, as `python -m ffattn.train` does, or on arrays.

    Example:
        run = ffattn.fit(task="multiply", T=500, updates=20_000)
        run = ffattn.fit("model.hidden=64", "optim.lr=0.01", task="add")
        run = ffattn.fit(task=Multiply(length=Fixed(T=500)), model=FFAttention(hidden=64))
        run = ffattn.fit(X, y, "model.hidden=64", updates=2000)  # the same as task=ffattn.tasks.Arrays(x=X, y=y)
        scores = run.result["test"]
        answers = run.predict(x, lengths)  # for task=file: raw values in, the unit of the target out

    Args:
        *given: Overrides as on the command line; before them X and y, if these are what is learned (see
            `ffattn.tasks.Arrays`, which has settings of their own).
        lengths: How many steps of each sequence of X are real, (sequence,); all if not given.
        folder: Run directory; a new one under `outputs` if not given.
        quiet: Whether to print nothing but progress.
        **settings: Root keys and groups, instead of `key=value`. A group may also be a settings object of your own, or
            settings in a mapping: `trainer={"patience": 5}`, or a configuration that you have composed, `**config`.

    Returns:
        The finished run: its directory, its result, and its best network.

    Raises:
        ConfigError: Something given cannot work; the message has a line for each mistake.
        SettingError: Likewise, for settings objects and for what this machine cannot do.
        TrainingError: A loss was not finite.
    """
    from ffattn.runs.resuming import find_start

    checked = _checked_settings(*_task_of_arrays(given, lengths, settings))
    if folder is None:
        name = f"seed{checked.seed}_{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
        folder = Path("outputs") / f"{checked.task.name}_{checked.model.name}" / f"T{checked.T}" / name
    start = find_start(checked, Path(folder))
    from ffattn.runs.training import TrainedRun, train  # imports Lightning, which takes seconds: mistakes come first

    return (
        train(checked, Path(folder), start, quiet) if start.result is None else TrainedRun(start.source, start.result)
    )


def _task_of_arrays(
    given: tuple[Any, ...], lengths: Any, settings: dict[str, object]
) -> tuple[tuple[str, ...], dict[str, object]]:
    """Overrides and settings, with the task of the arrays that stand before them."""
    arrays = tuple(itertools.takewhile(lambda one: not isinstance(one, str), given))
    overrides = given[len(arrays) :]
    if not arrays and lengths is None:
        return overrides, settings
    if len(arrays) != 2:
        raise SettingError("fit", f"{len(arrays)} arrays", "must have X and y, and then overrides")
    if "task" in settings:
        raise SettingError("task", settings["task"], "X and y are the task; give either")
    return overrides, settings | {"task": Arrays(x=arrays[0], y=arrays[1], lengths=lengths)}


def _checked_settings(overrides: tuple[str, ...], settings: dict[str, object]) -> "Train":
    from omegaconf import OmegaConf

    from ffattn.config.compose import compose_config
    from ffattn.config.convert import to_settings
    from ffattn.config.schema import Train

    objects: dict[str, Any] = {name: value for name, value in settings.items() if isinstance(value, Settings | type)}
    _check_objects(objects, settings, typing.get_type_hints(Train))
    nodes = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    pairs = [f"{name}={_quoted(value)}" for name, value in settings.items() if name not in {*objects, *nodes}]
    _refuse_clashes(overrides, [*objects, *nodes])
    task = objects.get("task")
    if isinstance(task, GivenTask):
        overrides = ("task=file", *overrides)  # for what such tasks have in common: the course of training
    if task is not None:
        objects["T"] = task.length.T  # of given data: known if it has been read already
    config = compose_config("train", [*overrides, *pairs])
    for name, node in nodes.items():
        config[name] = node if TARGET in node else OmegaConf.merge(config[name], node)
    checked = to_settings(config, Train, objects)
    checked.accelerator.check(checked.precision)
    return checked


def _refuse_clashes(overrides: tuple[str, ...], given: list[str]) -> None:
    """Refuse an override of what is given as an object or a mapping, which would be lost."""
    owners = {name: name for name in given} | ({"T": "task", "length": "task"} if "task" in given else {})
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if (owner := owners.get(key.split(".")[0].partition("@")[0])) is not None:
            raise SettingError(key, value, f"is part of the {owner} object; set it there")


def _check_objects(objects: dict[str, Any], settings: dict[str, object], hints: dict[str, Any]) -> None:
    for name, value in objects.items():
        kind = hints.get(name)
        if not (isinstance(kind, type) and isinstance(value, kind)):
            raise SettingError(name, value, "is no object of this setting's type; give an instance, as in task=Add()")
    if "task" in objects and (clash := {"T", "length"} & settings.keys()):
        raise SettingError(min(clash), settings[min(clash)], "is part of the task object; set it there")


def _quoted(value: object) -> str:
    """A value as an override; text with special characters, such as a path, in quotes."""
    if value is None:
        return "null"
    text = str(value)
    if not isinstance(value, str) or re.fullmatch(r"[\w./:+-]*", text):
        return text
    escaped = text.replace("'", r"\'")
    return f"'{escaped}'"


__all__ = ["TrainedModel", "fit", "load"]
