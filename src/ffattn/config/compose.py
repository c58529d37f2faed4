"""From a command line to a configuration, as Hydra composes it, without running anything."""

import pickle
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.errors import ConfigError
from ffattn.config.explain import explain
from ffattn.config.paths import conf_dir

_OPTIONAL_GROUPS = {
    "train": {"experiment", "sweep"},
    "evaluate": {"task"},
    "inspect": {"task"},
    "predict": set(),
    "export": set(),
    "stream": set(),
}  # may be null: none, or the checkpoint's own


class _Files(CachingConfigRepository):
    """Files that have been read. Every composition gets copies, since it writes into them; pickle makes them soonest.

    Args:
        delegate: Reads them.
    """

    def __init__(self, delegate: IConfigRepository) -> None:
        super().__init__(delegate)
        self.pickled: dict[str, bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A file's contents, or None if there is no such file.

        Args:
            config_path: Its path below the folders, without suffix.
        """
        if config_path not in self.pickled:
            self.pickled[config_path] = pickle.dumps(self.delegate.load_config(config_path))
        found: ConfigResult | None = pickle.loads(self.pickled[config_path])
        return found


class Loader(ConfigLoaderImpl):
    """Hydra's loader of configurations, which reads each file once.

    Args:
        name: The YAML file of the command, without its suffix.
        config_dir: A further folder of YAML files.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, name: str, config_dir: str | None = None) -> None:
        self.name, self.folders = name, [conf_dir()]
        path = create_config_search_path(str(conf_dir()))
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise ConfigError(f"--config-dir={config_dir}: there is no such folder")
            self.folders.append(Path(config_dir).resolve())
            path.prepend("command-line", f"file://{self.folders[-1]}", SearchPathQuery(provider="schema"))
        super().__init__(path)
        self.files = _Files(self.repository)

    def __getstate__(self) -> dict[str, Any]:
        """Files are not sent to other processes."""
        return {name: value for name, value in vars(self).items() if name not in {"files", "repository"}}

    def compose(self, overrides: list[str], is_sweep: bool = False) -> DictConfig:
        """Compose a configuration.

        Args:
            overrides: As on the command line.
            is_sweep: Whether keys may have several values, which are then left alone.

        Returns:
            The root node, Hydra's own included, with interpolations unresolved.

        Raises:
            ConfigError: An override names a key or a choice that does not exist, or cannot be read.
        """
        choices = self._choices(overrides, is_sweep)
        setup_globals()
        version.setbase("1.3")
        JobRuntime.instance().set("name", f"ffattn-{self.name}")
        mode = RunMode.MULTIRUN if is_sweep else RunMode.RUN
        try:
            return self.load_configuration(self.name, overrides, mode)
        except Exception as error:  # whatever Hydra raises here, an override caused it
            raise ConfigError(explain(error, self._compose_choices(choices))) from error

    def parse(self, overrides: list[str]) -> list[Override]:
        """Read overrides as Hydra does.

        Args:
            overrides: As on the command line; task=glob(*) looks among the files.

        Raises:
            ConfigError: One of them has another form than key=value.
        """
        try:
            return OverridesParser.create(self).parse_overrides(overrides)
        except HydraException as error:
            raise ConfigError(explain(error, None)) from error

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        """Keep what has been read from one composition to the next, unless other folders are to be searched."""
        if any(override.startswith(("hydra.searchpath", "+hydra.searchpath")) for override in overrides):
            return super()._parse_overrides_and_create_caching_repo(config_name, overrides)
        return OverridesParser.create().parse_overrides(overrides), self.files

    def _compose_choices(self, choices: list[str]) -> DictConfig | None:
        """What there is to override under the chosen groups; None if a choice itself is wrong."""
        try:
            return without_hydra(self.load_configuration(self.name, choices, RunMode.RUN))
        except Exception:
            return None

    def _choices(self, overrides: list[str], is_sweep: bool) -> list[str]:
        """The overrides that choose a file of a group; refuse several values, and values of other types."""
        choices = []
        for override in self.parse(overrides):
            key, line = str(override.key_or_group), str(override.input_line)
            value, is_group = override.value(), any((folder / key).is_dir() for folder in self.folders)
            if override.is_sweep_override() and is_sweep:
                continue
            if override.is_sweep_override() or (is_group and isinstance(value, list)):
                values = line.partition("=")[2].strip("[]")
                raise ConfigError(f"{line}: choose one; to try each, put -m first and write {key}={values}")
            is_absent = override.is_delete() or (value is None and key in _OPTIONAL_GROUPS[self.name])
            if is_group and not is_absent and not isinstance(value, str):
                files = sorted(path.stem for folder in self.folders for path in (folder / key).glob("*.yaml"))
                raise ConfigError(f"{line}: no such choice ({key} has {', '.join(files)})")
            choices += [line] if is_group else []
        return choices


def compose_config(name: str, overrides: list[str], config_dir: str | None = None) -> DictConfig:
    """Compose the configuration of a command.

    Args:
        name: The YAML file of the command, without its suffix.
        overrides: As on the command line.
        config_dir: A further folder of YAML files.

    Returns:
        The root node, with interpolations unresolved.

    Raises:
        ConfigError: An override names a key or a choice that does not exist, or cannot be read.
    """
    return without_hydra(Loader(name, config_dir).compose(overrides))


def without_hydra(config: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node, interpolations unresolved."""
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    return config


def select(config: DictConfig, key: str) -> str:
    """A value as text, its interpolations resolved.

    Args:
        config: The root node, with Hydra's own.
        key: Where.

    Raises:
        ConfigError: An interpolation leads nowhere.
    """
    HydraConfig.instance().cfg = config  # type: ignore[assignment]  # for the resolver ${hydra:...}
    try:
        return str(OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from error
