"""The strict function between YAML and settings: every mistake is found, named by its key, and reported together."""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Collection
from typing import Any, TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.errors import ConfigError, nearest
from ffattn.errors import SettingError
from ffattn.settings import TARGET, TYPE_NAMES, Settings, find_class, problem_of

S = TypeVar("S", bound=Settings)


def to_settings(config: DictConfig, base: type[S], objects: dict[str, Any] | None = None) -> S:
    """Turn a composed configuration into a checked settings object.

    Args:
        config: The root node, without Hydra's own; interpolations unresolved, so that a mistake is reported under
            the key that the user typed.
        base: The class of the result.
        objects: Settings of the root that are there already, and taken instead of what the configuration says.

    Returns:
        An instance of `base`.

    Raises:
        ConfigError: One line for each mistake.
    """
    converter = _Converter(config, objects or {})
    settings: S = converter.build(config, base, "")
    converter.finish()
    return settings


def refuse_mistakes(config: DictConfig, base: type[Settings], later: Collection[str]) -> None:
    """Refuse values that are wrong already, where others will be filled in: those that are missing or null.

    Args:
        config: The root node, as for `to_settings`.
        base: The class that it will become.
        later: Keys that will be filled in as well, and are not looked at.

    Raises:
        ConfigError: One line for each mistake.
    """
    converter = _Converter(config, {})
    for field in dataclasses.fields(base):
        if field.name not in later and config.get(field.name) is not None:  # of a missing one None is what is got
            converter.value(config, base, field, "")
    converter.finish()


def trusted_packages(config: DictConfig) -> tuple[str, ...]:
    """Return the packages that `trust` names, one or several, which become a list in the configuration too.

    Args:
        config: With the key `trust`.

    Raises:
        ConfigError: It is something else.
    """
    if isinstance(config.trust, str):
        config.trust = [config.trust]
    if not isinstance(config.trust, ListConfig):
        raise ConfigError(f"trust={config.trust}: must be a package, or a list of packages")
    return tuple(config.trust)


class _Converter:
    """Builds settings bottom-up and collects problems on the way."""

    def __init__(self, root: DictConfig, objects: dict[str, Any]) -> None:
        self.root = root
        self.objects = objects
        self.problems: list[str] = []

    def finish(self) -> None:
        """Raise all problems together, if there are any."""
        if self.problems:
            raise ConfigError("\n".join(dict.fromkeys(self.problems)))

    def build(self, node: DictConfig, base: type[Settings], path: str) -> Any:
        """The settings object of a node, or None after a problem."""
        before = len(self.problems)
        cls = self._class(node, base, path)
        if cls is None:
            return None
        self._refuse_unknown(node, cls, path)
        values = {field.name: self.value(node, cls, field, path) for field in dataclasses.fields(cls)}
        if len(self.problems) > before:
            return None
        try:
            return cls(**{name: value for name, value in values.items() if value is not dataclasses.MISSING})
        except SettingError as error:
            self._report(_join(path, error.key), error.value, error.problem)

    def _class(self, node: DictConfig, base: type[Settings], path: str) -> type[Settings] | None:
        target = node.get(TARGET)
        if target is None and not inspect.isabstract(base):
            return base
        if target is None:
            self._report(path or base.__name__, None, f"has no {TARGET}; choose one of the group's files")
            return None
        try:
            return find_class(target, base)
        except SettingError as error:
            self._report(_join(path, TARGET), target, error.problem)
            return None

    def _refuse_unknown(self, node: DictConfig, cls: type[Settings], path: str) -> None:
        known = [field.name for field in dataclasses.fields(cls)]
        for key in node:
            if key not in known and key != TARGET:
                hint = nearest(str(key), known).replace("mean ", f"mean {path}." if path else "mean ")
                keys = f" ({path or 'the root'} has {', '.join(known)})" if not hint else ""
                self.problems.append(f"{_join(path, str(key))}: unknown key{hint}{keys}")

    def value(self, node: DictConfig, cls: type[Settings], field: Any, path: str) -> Any:
        """The value of a field, None after a problem, or what says that the field has a default."""
        if not path and field.name in self.objects:
            return self.objects[field.name]
        key = _join(path, field.name)
        kind = _hints(cls)[field.name]  # type: ignore[arg-type]  # classes are hashable, whatever their instances are
        if field.name not in node:
            optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            return dataclasses.MISSING if optional else self._report(key, None, "missing")
        if OmegaConf.is_missing(node, field.name):
            return self._report(key, None, f"missing; give {key}=...")
        if isinstance(kind, type) and issubclass(kind, Settings):
            return self._child(node, field.name, kind, key)
        value = self._plain(node, cls, field.name, kind, key)
        if value is not None and (problem := problem_of(value, field.metadata)):
            self._report(key, value, problem)
        return value

    def _child(self, node: DictConfig, name: str, kind: type[Settings], key: str) -> Any:
        child = node[name]
        if not isinstance(child, DictConfig):
            return self._report(key, child, "must be a choice of the group, or a mapping of settings")
        return self.build(child, kind, key)

    def _plain(self, node: DictConfig, cls: type[Settings], name: str, kind: Any, key: str) -> Any:
        try:
            value = node[name]
        except OmegaConfBaseException as error:  # an interpolation that leads nowhere
            return self.problems.append(f"{key}: {str(error).splitlines()[0]}")
        if kind is bool and isinstance(value, int | float) and not isinstance(value, bool):  # 50 would count as true
            return self._report(key, value, f"must be {_describe(kind, value)}")
        schema = _schema(cls)  # type: ignore[arg-type]
        try:
            OmegaConf.update(
                schema, name, value, merge=False
            )  # may convert; an assignment should not, says OmegaConf 2.4
        except OmegaConfBaseException:
            return self._report(key, "null" if value is None else value, f"must be {_describe(kind, value)}")
        checked = schema[name]
        return OmegaConf.to_container(checked) if OmegaConf.is_config(checked) else checked

    def _report(self, key: str, value: object, problem: str) -> None:
        source = self._source(key)
        self.problems.append(f"{source}={value}: {problem}" if value is not None else f"{source}: {problem}")

    def _source(self, key: str) -> str:
        """The key that a value came from: T for task.length.T, which is written as ${T}."""
        parent, _, name = key.rpartition(".")
        node = OmegaConf.select(self.root, parent) if parent else None
        if isinstance(node, DictConfig) and name in node and OmegaConf.is_interpolation(node, name):
            raw = OmegaConf.to_container(node, resolve=False)[name]  # type: ignore[index,call-overload]
            return str(raw).strip("${}")
        return key


_hints = functools.cache(typing.get_type_hints)


@functools.cache
def _schema(cls: type[Settings]) -> DictConfig:
    """The types of a class as OmegaConf sees them; values that are written into it stay until the next are."""
    schema: DictConfig = OmegaConf.structured(cls)
    return schema


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _describe(kind: Any, value: object) -> str:
    """The type in words, with the whole number that a float such as 1e4 stands for."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    words = " or ".join(
        "null" if option is types.NoneType else TYPE_NAMES.get(option, str(option)) for option in options
    )
    if int in options and isinstance(value, float) and value.is_integer():
        return f"{words}; write {int(value)}"
    return words
