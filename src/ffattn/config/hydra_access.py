"""What ffattn needs of Hydra besides its documented interface, all in one place, for Hydra 1.3 and 1.4."""

import argparse
import copy
import pickle
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.plugin import Plugin
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ffattn.config.errors import ConfigError
from ffattn.config.paths import conf_dir

# Hydra 1.3 falls back to the defaults of 1.1 without it; 1.4 has one set of defaults, and deprecates the argument.
VERSION_BASE = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}

_more_configs: ContextVar[Path | None] = ContextVar("more_configs", default=None)


def command_line_parser() -> argparse.ArgumentParser:
    """Return the parser of Hydra's own options, for which Hydra has no public name.

    Raises:
        ConfigError: The installed Hydra keeps it elsewhere.
    """
    try:
        from hydra._internal.utils import get_args_parser
    except ImportError as error:
        raise ConfigError(_unsupported("get_args_parser")) from error
    return get_args_parser()


def builtin_plugin(kind: type[Plugin], name: str) -> Any:
    """Return the class of a plugin that comes with Hydra.

    Args:
        kind: `Launcher` or `Sweeper`.
        name: Of the class: `BasicLauncher`, `BasicSweeper`.

    Raises:
        ConfigError: The installed Hydra has no such plugin.
    """
    for plugin in Plugins.instance().discover(kind):
        if plugin.__name__ == name:
            return plugin
    raise ConfigError(_unsupported(name))


def _unsupported(name: str) -> str:
    return f"hydra-core {hydra.__version__} has no {name}: ffattn needs hydra-core 1.3 or 1.4"


class _MoreConfigs(SearchPathPlugin):
    """Adds the folder of `--config-dir` to a loader that is being made; Hydra's own commands add it themselves."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder, if there is one.

        Args:
            search_path: Of the loader.
        """
        folder = _more_configs.get()
        if folder is not None:
            search_path.append("command-line", f"file://{folder}")


def make_loader(job_name: str, config_dir: Path | None) -> ConfigLoader:
    """Make Hydra's loader of conf/, and leave Hydra as this process has initialized it for itself, if it has.

    Args:
        job_name: The value of `hydra.job.name`.
        config_dir: A further folder of YAML files.

    Returns:
        A loader that reads each file once.
    """
    Plugins.instance().register(_MoreConfigs)
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    token = _more_configs.set(config_dir)
    try:
        with hydra.initialize_config_dir(str(conf_dir()), job_name, **VERSION_BASE):
            loader = GlobalHydra.instance().config_loader()
    finally:
        _more_configs.reset(token)
        GlobalHydra.instance().hydra = outer
    _read_files_once(loader)
    return loader


def choices_of(loader: Any) -> dict[str, list[str]]:
    """Return the choices of each group that is not Hydra's own, by the group's path, both sorted.

    Hydra's loader would copy all that it knows for each question; a loader without this attribute does.

    Args:
        loader: As `make_loader` made it.
    """
    files = getattr(loader, "repository", loader)
    found: dict[str, list[str]] = {}
    parents = [name for name in files.get_group_options("", ObjectType.GROUP) if name != "hydra"]
    while parents:
        group = parents.pop()
        found[group] = sorted(files.get_group_options(group, ObjectType.CONFIG))
        parents += [f"{group}/{name}" for name in files.get_group_options(group, ObjectType.GROUP)]
    return {group: found[group] for group in sorted(found) if found[group]}


def _read_files_once(loader: Any) -> None:
    """Save a third of each composition; a loader without this attribute reads the files for each."""
    if hasattr(loader, "repository"):
        loader.repository = _FilesReadOnce(loader.repository)


class _FilesReadOnce:
    """Hydra's repository of YAML files, with the contents of those that were read.

    Every composition gets copies, since it writes into them; pickle makes them soonest.

    Args:
        repository: Hydra's.
    """

    def __init__(self, repository: Any) -> None:
        self.repository = repository
        self.pickled: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a file's contents, or None if there is no such file.

        Args:
            config_path: Its path below the folders, without suffix.
        """
        if config_path not in self.pickled:
            self.pickled[config_path] = pickle.dumps(self.repository.load_config(config_path))
        found: ConfigResult | None = pickle.loads(self.pickled[config_path])
        return found

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Search other folders from now on: those of `hydra.searchpath`.

        Args:
            config_search_path: The folders.
        """
        self.pickled = {}
        self.repository.initialize_sources(config_search_path)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_FilesReadOnce":
        copied = _FilesReadOnce(copy.deepcopy(self.repository, memo))
        copied.pickled = self.pickled  # until it is told to search other folders
        return copied

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repository, name)


@cache
def keep_plugins() -> None:
    """Let a process know Hydra's plugins for good.

    Its launchers forget them before each job, and search for them again: a tenth of a second. A Hydra without this
    method is left to do so.
    """
    found = Plugins.instance()
    if hasattr(Plugins, "_initialize"):
        Plugins._initialize = lambda new: vars(new).update(vars(found))  # type: ignore[method-assign,assignment]
