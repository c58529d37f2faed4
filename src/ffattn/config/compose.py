"""From a command line to a configuration, as Hydra composes it, without running anything."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime, setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.errors import ConfigError
from ffattn.config.explain import explain
from ffattn.config.hydra_access import make_loader
from ffattn.config.overrides import NULL_GROUPS, usual
from ffattn.config.paths import conf_dir

_OPTIONAL_GROUPS = {
    "train": set(NULL_GROUPS),
    "evaluate": {"task"},
    "inspect": {"task"},
    "predict": set(),
    "export": set(),
    "stream": set(),
}  # may be null: none, or the checkpoint's own


class Loader:
    """Composes the configurations of a command.

    Args:
        name: The YAML file of the command, without its suffix.
        config_dir: A further folder of YAML files.

    Attributes:
        folders: Of YAML files: ffattn's own, and the user's.
        hydra_loader: Hydra's own loader.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, name: str, config_dir: str | None = None) -> None:
        self.name = name
        self.folders = [conf_dir()]
        more_configs = None
        if config_dir is not None:
            if not Path(config_dir).is_dir():
                raise ConfigError(f"--config-dir={config_dir}: there is no such folder")
            more_configs = Path(config_dir).resolve()
            self.folders.append(more_configs)
        self.hydra_loader = make_loader(self._job_name, more_configs)

    @property
    def _job_name(self) -> str:
        return f"ffattn-{self.name}"

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
        JobRuntime.instance().set("name", self._job_name)
        mode = RunMode.MULTIRUN if is_sweep else RunMode.RUN
        try:
            return self.hydra_loader.load_configuration(self.name, overrides, mode)
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
            return OverridesParser.create(self.hydra_loader).parse_overrides(overrides)
        except HydraException as error:
            raise ConfigError(explain(error, None)) from error

    def _compose_choices(self, choices: list[str]) -> DictConfig | None:
        """What there is to override under the chosen groups; None if a choice itself is wrong."""
        try:
            return without_hydra(self.hydra_loader.load_configuration(self.name, choices, RunMode.RUN))
        except Exception:
            return None

    def _choices(self, overrides: list[str], is_sweep: bool) -> list[str]:
        """The overrides that choose a file of a group; refuse several values, and values of other types."""
        choices = []
        for override in self.parse(overrides):
            key = str(override.key_or_group)
            is_group = any((folder / key).is_dir() for folder in self.folders)
            if override.is_sweep_override() and is_sweep:
                continue
            _refuse_several(override, is_group)
            if is_group:
                self._refuse_other_types(override)
                choices.append(str(override.input_line))
        return choices

    def _refuse_other_types(self, override: Override) -> None:
        """Refuse what names no file of a group: a number, a mapping, or null where a choice is needed."""
        key = str(override.key_or_group)
        value = override.value()
        is_absent = override.is_delete() or (value is None and key in _OPTIONAL_GROUPS[self.name])
        if not is_absent and not isinstance(value, str):
            files = sorted(path.stem for folder in self.folders for path in (folder / key).glob("*.yaml"))
            raise ConfigError(f"{override.input_line}: no such choice ({key} has {', '.join(files)})")


def _refuse_several(override: Override, is_group: bool) -> None:
    if override.is_sweep_override() or (is_group and isinstance(override.value(), list)):
        key = str(override.key_or_group)
        line = str(override.input_line)
        values = line.partition("=")[2].strip("[]")
        raise ConfigError(f"{line}: choose one; to try each, put -m first and write {key}={values}")


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
    return without_hydra(Loader(name, config_dir).compose(usual(overrides)))


def without_hydra(config: DictConfig) -> DictConfig:
    """Return the configuration without Hydra's own node, which is taken out of it; interpolations stay unresolved.

    Args:
        config: The root node.
    """
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    return config


def resolve_value(config: DictConfig, key: str) -> str:
    """Return a value as text, its interpolations resolved.

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
