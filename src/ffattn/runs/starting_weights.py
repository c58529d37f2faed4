"""Whether the weights of a checkpoint mean the same in the run that starts from them."""

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from ffattn.config.errors import ConfigError
from ffattn.config.schema import Train
from ffattn.errors import CheckpointError, FFAttnError
from ffattn.inference.checkpoint import build_network, load_weights, read, task_of
from ffattn.inference.checkpoint_files import KEY
from ffattn.inference.columns import preparation_of
from ffattn.tasks import Task

_MOST = 8  # names that are shown


class _Names(NamedTuple):
    """What weights stand for, in their order.

    Attributes:
        kind: Of what, such as inputs.
        new: In the run that starts.
        old: In the checkpoint.
    """

    kind: str
    new: tuple[str, ...]
    old: tuple[str, ...]

    @property
    def are_mixed_up(self) -> bool:
        """Whether there are more or fewer, or one of them has the weights that were another's."""
        return len(self.new) != len(self.old) or any(
            name in self.old for name, before in zip(self.new, self.old, strict=True) if name != before
        )

    def line(self) -> str:
        """Say in what they differ."""
        return f"{self.kind} are {_listed(self.new)}; in the checkpoint they are {_listed(self.old)}"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more or "none"


def check_init_from(settings: Train) -> str:
    """Refuse weights that fit no network of this run, or that would stand for something else in it.

    Args:
        settings: The run; without `init_from` there is nothing to refuse.

    Returns:
        What stands under a new name, if anything does: those weights are where training starts from.

    Raises:
        ConfigError: Sizes differ, or a column, a category or a class has the weights of another one.
    """
    if settings.init_from is None:
        return ""
    try:
        contents = read(settings.init_from)
        before = task_of(contents[KEY], (_package(settings.task), "ffattn"))
    except CheckpointError as error:
        raise ConfigError(f"init_from={error}") from error
    except (FFAttnError, KeyError, TypeError, AttributeError):  # of a task that is not known here; sizes still are
        before = None
    different = (
        [] if before is None else [names for names in _compared(settings.task, before) if names.new != names.old]
    )
    for names in different:
        if names.are_mixed_up:
            hint = "; give task.features=[...] in the checkpoint's order" if set(names.new) == set(names.old) else ""
            raise ConfigError(f"init_from={settings.init_from}: {names.line()}{hint}")
    try:
        load_weights(build_network(settings.model, settings.task), contents, settings.init_from)
    except CheckpointError as error:
        raise ConfigError(f"init_from={error}") from error
    return "; ".join(names.line() for names in different)


def _package(task: Task) -> str:
    return type(task).__module__.partition(".")[0]


def _compared(now: Task, before: Task) -> Iterator[_Names]:
    """Inputs, the categories of each, and what is answered."""
    new = preparation_of(now)
    old = preparation_of(before)
    yield _Names("its inputs", new.input_names, old.input_names)
    for one, other in zip_longest(new.symbols, old.symbols):
        if one is not None and other is not None:
            yield _Names(f"the {one.kind} values of {one.name}", one.values, other.values)
    yield _Names("its classes", new.classes, old.classes)
    if not new.classes:
        yield _Names("its targets", tuple(t.name for t in new.targets), tuple(t.name for t in old.targets))
