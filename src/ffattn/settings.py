"""Settings: dataclasses that state their names, types, units and ranges, and refuse values outside them."""

import dataclasses
import importlib
import inspect
import math
import re
import types
import typing
from dataclasses import dataclass
from typing import Any, ClassVar

from ffattn.errors import SettingError

TARGET = "_target_"


def setting(default: Any, **limits: Any) -> Any:
    """Return a dataclass field with limits that `Settings` checks.

    Args:
        default: Default value.
        **limits: Any of `low` and `high` (inclusive bounds), `above` and `below` (exclusive bounds), `choices`.

    Returns:
        A `dataclasses.field` that carries the limits as metadata.
    """
    assert limits.keys() <= {"low", "high", "above", "below", "choices"}, limits
    return dataclasses.field(default=default, metadata=limits)


def problem_of(value: Any, limits: Any) -> str | None:
    """Return what is wrong with a value under the limits of its field, or None.

    Args:
        value: Of the field's type.
        limits: The field's metadata.
    """
    if (choices := limits.get("choices")) is not None:
        return None if value in choices else f"must be one of {', '.join(map(str, choices))}"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if (low := limits.get("low")) is not None and value < low:
        return f"must be at least {low}"
    if (above := limits.get("above")) is not None and value <= above:
        return f"must be more than {above}"
    if (high := limits.get("high")) is not None and value > high:
        return f"must be at most {high}"
    if (below := limits.get("below")) is not None and value >= below:
        return f"must be less than {below}"
    return None


TYPE_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def type_problem_of(value: Any, hint: Any) -> str | None:
    """Return what is wrong with the type of a value, or None; lists and mappings are not looked into.

    Args:
        value: Anything.
        hint: The field's type.
    """
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if isinstance(hint, type) and issubclass(hint, Settings):
        return None if isinstance(value, hint) else f"must be the settings of a {hint.__name__}"
    if not TYPE_NAMES.keys() & set(allowed) or type(value) in (*allowed, int if float in allowed else None):
        return None
    return f"must be {' or '.join(TYPE_NAMES.get(kind, 'null') for kind in allowed)}"


@dataclass
class Settings:
    """Base of everything that a user configures; construction checks every field against its type and its limits.

    A number of NumPy's or torch's becomes Python's, which a checkpoint can hold.

    Class variables:
        name: What it is called on the command line and in results; the class name in snake case unless stated.

    Raises:
        SettingError: A value is not of its field's type, or outside the limits that the field states.
    """

    name: ClassVar[str] = "settings"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if getattr(value, "shape", None) == ():
                value = value.item()
                setattr(self, field.name, value)
            if problem := type_problem_of(value, hints[field.name]):
                raise SettingError(field.name, value, problem)
            if value is not None and (problem := problem_of(value, field.metadata)):
                raise SettingError(field.name, value, problem)


def target_of(cls: type) -> str:
    """Return the import path that names a class in a YAML file or a checkpoint: the shortest public one.

    Args:
        cls: A class that can be imported by name.

    Returns:
        `ffattn.tasks.Add` rather than `ffattn.tasks.add.Add` where the package exports the class.
    """
    package = cls.__module__.rpartition(".")[0]
    if package and getattr(importlib.import_module(package), cls.__name__, None) is cls:
        return f"{package}.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"


def find_class(target: object, base: type) -> type:
    """Import the class that a `_target_` names.

    Args:
        target: `package.module.Class`; of anything else it is said that it is none.
        base: The class must be a subclass of this one.

    Returns:
        The class.

    Raises:
        SettingError: There is no such class, or it is no subclass of `base`.
    """
    module, _, name = str(target).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None) if module else None
    except Exception as error:  # importing a user's module runs it, and that may fail in any way
        raise SettingError(TARGET, target, f"cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise SettingError(TARGET, target, f"names no subclass of {base.__module__}.{base.__name__}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise SettingError(TARGET, target, f"is a base class: it lacks {missing}")
    own = [name for name, hint in vars(found).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]
    if own and "__dataclass_fields__" not in vars(found):
        raise SettingError(TARGET, target, f"has the setting {own[0]}, and so needs the decorator @dataclass")
    return found


def to_plain(settings: Settings) -> dict[str, Any]:
    """Return settings as plain values, which a checkpoint or a JSON file can hold; `from_plain` reads them back.

    Args:
        settings: Any settings object; its fields are plain values, lists of them, or settings.

    Returns:
        Nested dictionaries, each with its class under `_target_`.
    """
    plain: dict[str, Any] = {TARGET: target_of(type(settings))}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        plain[field.name] = to_plain(value) if isinstance(value, Settings) else value
    return plain


def _is_trusted(target: object, trust: tuple[str, ...]) -> bool:
    return any(str(target).startswith(f"{package}.") for package in trust)


def from_plain(plain: dict[str, Any], base: type, trust: tuple[str, ...] = ("ffattn",)) -> Any:
    """Rebuild settings from `to_plain`'s dictionaries, without importing anything outside the trusted packages.

    Args:
        plain: What `to_plain` returned.
        base: The class that the result must be an instance of.
        trust: Packages from which classes may be imported: importing a module runs it.

    Returns:
        An instance of the class under `_target_`.

    Raises:
        SettingError: The class is not in a trusted package, unknown, or refuses its values.
    """
    target = plain.get(TARGET, "")
    if not _is_trusted(target, trust):
        problem = f"is outside {', '.join(trust)}; allow it with trust=<package> if you know its author"
        raise SettingError(TARGET, target, problem)
    cls = find_class(target, base)
    hints = typing.get_type_hints(cls)
    fields = {name: _restore(name, value, hints.get(name), trust) for name, value in plain.items() if name != TARGET}
    try:
        return cls(**fields)
    except TypeError as error:
        raise SettingError(TARGET, target, f"does not take these settings ({error})") from error


def _restore(name: str, value: Any, hint: Any, trust: tuple[str, ...]) -> Any:
    """The value of one field: settings of the field's own type, or a plain value, which the class checks."""
    if isinstance(hint, type) and issubclass(hint, Settings) and isinstance(value, dict):
        return from_plain(value, hint, trust)
    return value
