"""How a command starts: every mistake that can be seen before any work is seen before any work.

Hydra makes the run directory, and prints two lines of its own under every error, before a job's function is called. So
the configuration of every job is composed and checked first, and Hydra runs after that.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.errors import ConfigError
from ffattn.config.explain import explain
from ffattn.config.jobs import BusyError, Place, Sweep, job_directory, job_overrides, locked
from ffattn.config.paths import conf_dir
from ffattn.errors import FFAttnError
from ffattn.world import world

_PRINTING = ("help", "hydra_help", "cfg", "info", "shell_completion", "experimental_rerun")

_OPTIONAL_GROUP = {"train": "experiment", "evaluate": "task"}  # may be null: none, or the checkpoint's own

Prepare = Callable[[DictConfig, Path, bool], Any]
Execute = Callable[[Any, Path, bool], None]


def run_command(name: str, prepare: Prepare, execute: Execute, sweep: Callable[[], Sweep]) -> None:
    """Run a command line from start to end; exits with status 1 after one message if the user made a mistake.

    Args:
        name: The YAML file of the command, without its suffix.
        prepare: Checks a configuration for a run directory, also given whether it is one of a sweep, and returns the
            settings, or None if nothing is left to do. Raises a ValueError for a mistake.
        execute: Does the work of one job, given what was prepared, the directory, and whether it is one of a sweep.
        sweep: Imports what is done around the jobs of a sweep, which takes seconds.
    """
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: not _is_option(word))  # Hydra wants options before overrides
    arguments = get_args_parser().parse_args()
    _extend_import_path(arguments.config_dir)
    with _short_errors():
        _refuse_other_roots(arguments)
        if any(getattr(arguments, option) for option in _PRINTING):
            _run_hydra(name, lambda config: None)
        elif arguments.multirun:
            if status := _run_sweep(arguments, name, prepare, execute, sweep):
                sys.exit(status)
        elif world().rank > 0:
            _run_beside(arguments, name, prepare, execute)
        elif _is_needed(arguments, name, prepare):
            _run_alone(name, prepare, execute)


def _is_option(word: str) -> bool:
    """Whether a word of the command line is an option that stands for itself: -m, or --config-dir=FOLDER."""
    return word in {"-m", "--multirun"} or (word.startswith("--") and "=" in word)


def _refuse_other_roots(arguments: argparse.Namespace) -> None:
    """The root file decides which command this is."""
    for option in ("config_name", "config_path"):
        if getattr(arguments, option) is not None:
            flag = f"--{option.replace('_', '-')}"
            raise ConfigError(f"{flag}: is not supported; use --config-dir=FOLDER or experiment=NAME")


@contextmanager
def _short_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with status 1; `HYDRA_FULL_ERROR=1` shows where it came from."""
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in {"", "0"}
    try:
        yield
    except (FFAttnError, HydraException, OmegaConfBaseException) as error:
        if wants_traceback:
            raise
        if world().rank == 0:  # the others say the same
            print(error if isinstance(error, FFAttnError) else explain(error, None), file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if wants_traceback or error.filename is None:
            raise
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # outside of training, which has a word of its own
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def _extend_import_path(config_dir: str | None) -> None:
    """The folder above `--config-dir` is where a user's own tasks and models are."""
    if config_dir is not None:
        sys.path.insert(0, str(Path(config_dir).resolve().parent))


def _is_needed(arguments: argparse.Namespace, name: str, prepare: Prepare) -> bool:
    """Check the run; False if nothing is left to do for it."""
    config = compose_config(name, arguments.overrides, arguments.config_dir, with_hydra=True)
    run_dir = Path(_select(config, "hydra.run.dir"))
    return prepare(without_hydra(config), run_dir, False) is not None


def _run_beside(arguments: argparse.Namespace, name: str, prepare: Prepare, execute: Execute) -> None:
    """Take part in a run that torchrun or srun has started in several processes; the first one keeps the directory."""
    config = compose_config(name, arguments.overrides, arguments.config_dir, with_hydra=True)
    run_dir = Path(_select(config, "hydra.run.dir"))
    execute(prepare(without_hydra(config), run_dir, False), run_dir, False)


def compose_config(
    name: str, overrides: list[str], config_dir: str | None = None, with_hydra: bool = False
) -> DictConfig:
    """Compose a configuration without running anything.

    Args:
        name: The YAML file of the command, without its suffix.
        overrides: As on the command line.
        config_dir: A further folder of YAML files.
        with_hydra: Whether to keep Hydra's own node.

    Returns:
        The root node, with interpolations unresolved.

    Raises:
        ConfigError: An override names a key or a choice that does not exist, or cannot be read.
    """
    if config_dir is not None and not Path(config_dir).is_dir():
        raise ConfigError(f"--config-dir={config_dir}: there is no such folder")
    folders = [conf_dir(), *([Path(config_dir).resolve()] if config_dir is not None else [])]
    choices = _choices(name, overrides, folders)
    search = [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders[1:])}]"]
    with _other_hydra(), initialize_config_dir(config_dir=str(folders[0]), version_base="1.3", job_name="ffattn"):
        try:
            config = compose(name, overrides=[*overrides, *search], return_hydra_config=True)
        except Exception as error:  # whatever Hydra raises here, an override caused it
            raise ConfigError(explain(error, _compose_choices(name, [*choices, *search]))) from error
    return config if with_hydra else without_hydra(config)


@contextmanager
def _other_hydra() -> Iterator[None]:
    """Leave a Hydra that the caller has initialised as it is."""
    instance = GlobalHydra.instance()
    before = instance.hydra
    instance.clear()
    try:
        yield
    finally:
        instance.hydra = before


def _compose_choices(name: str, choices: list[str]) -> DictConfig | None:
    """What there is to override under the chosen groups; None if a choice itself is wrong."""
    try:
        return compose(name, overrides=choices)
    except Exception:
        return None


def parse_overrides(overrides: list[str], config_dir: str | None = None) -> list[Override]:
    """Read overrides as Hydra does.

    Args:
        overrides: As on the command line.
        config_dir: A further folder of YAML files, among which task=glob(*) looks.

    Raises:
        ConfigError: One of them has another form than key=value.
    """
    folders = create_config_search_path(str(conf_dir()))
    if config_dir is not None:
        folders.append("command-line", str(Path(config_dir).resolve()))
    try:
        return OverridesParser.create(ConfigLoaderImpl(folders)).parse_overrides(overrides)
    except HydraException as error:
        raise ConfigError(explain(error, None)) from error


def _choices(name: str, overrides: list[str], folders: list[Path]) -> list[str]:
    """The overrides that choose a file of a group; refuse several values, which would be merged, and other types."""
    choices = []
    for override in parse_overrides(overrides):
        key, line = str(override.key_or_group), str(override.input_line)
        value, is_group = override.value(), any((folder / key).is_dir() for folder in folders)
        if override.is_sweep_override() or (is_group and isinstance(value, list)):
            values = line.partition("=")[2].strip("[]")
            raise ConfigError(f"{line}: choose one; to try each, put -m first and write {key}={values}")
        is_absent = override.is_delete() or (value is None and key == _OPTIONAL_GROUP[name])
        if is_group and not is_absent and not isinstance(value, str):
            files = sorted(path.stem for folder in folders for path in (folder / key).glob("*.yaml"))
            raise ConfigError(f"{line}: no such choice ({key} has {', '.join(files)})")
        choices += [line] if is_group else []
    return choices


def without_hydra(config: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node, interpolations unresolved."""
    OmegaConf.set_struct(config, False)
    config.pop("hydra", None)
    return config


def _select(config: DictConfig, key: str) -> str:
    HydraConfig.instance().set_config(config)  # for the resolver ${hydra:...}
    try:
        return str(OmegaConf.select(config, key))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {str(error).splitlines()[0]}") from error


def _run_sweep(
    arguments: argparse.Namespace, name: str, prepare: Prepare, execute: Execute, sweep: Callable[[], Sweep]
) -> int:
    """Check every job, run them, and sum up; returns the exit status."""
    root, subdir = _sweep_directories(arguments, name)
    where = [f"hydra.sweep.dir={_quoted(root)}", f"hydra.sweep.subdir={_quoted(subdir)}"]
    folders: dict[Path, bool] = {}
    jobs = job_overrides(parse_overrides([*arguments.overrides, *where], arguments.config_dir))
    for number, overrides in enumerate(jobs):
        config = compose_config(name, overrides, arguments.config_dir, with_hydra=True)
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        folder = Path(root, _select(config, "hydra.sweep.subdir")).absolute()
        if folder in folders:
            raise ConfigError(f"{folder}: two jobs of the sweep would be written here")
        folders[folder] = prepare(without_hydra(config), folder, True) is None
    run_job, finish = sweep()
    total = len(folders)

    def job(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        place = Place(
            Path(hydra_config.runtime.output_dir), str(Path(hydra_config.sweep.subdir)), hydra_config.job.num + 1, total
        )
        try:
            with locked(place.folder):
                run_job(lambda: _work(prepare, execute, config, in_sweep=True), place)
        except BusyError as error:
            print(error, file=sys.stderr)

    sys.argv += where
    _run_hydra(name, job)
    return finish(Path(root).absolute(), folders)


def _sweep_directories(arguments: argparse.Namespace, name: str) -> tuple[str, str]:
    """The sweep's directory, as the time of day has it now, and the pattern of its jobs'."""
    overrides = parse_overrides(arguments.overrides, arguments.config_dir)
    first = next(job_overrides(overrides))
    config = compose_config(name, first, arguments.config_dir, with_hydra=True)
    subdir = str(OmegaConf.to_container(config.hydra, resolve=False)["sweep"]["subdir"])  # type: ignore[call-overload,index]
    groups = set(config.hydra.runtime.choices)
    if not any(override.key_or_group == "hydra.sweep.subdir" for override in overrides):
        subdir = job_directory(subdir, overrides, groups)
    return _select(config, "hydra.sweep.dir"), subdir


def _quoted(text: str) -> str:
    """A value as Hydra's grammar has it, whatever characters it holds."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _work(prepare: Prepare, execute: Execute, config: DictConfig, in_sweep: bool) -> bool:
    """Do one job in its directory, which Hydra has made; returns whether anything was left to do."""
    run_dir = Path(HydraConfig.get().runtime.output_dir)
    settings = prepare(config, run_dir, in_sweep)
    if settings is not None:
        execute(settings, run_dir, in_sweep)
    return settings is not None


def _run_alone(name: str, prepare: Prepare, execute: Execute) -> None:
    """Run one job; what it raises goes around Hydra, which would put a line of its own above the message."""
    errors: list[FFAttnError] = []

    def job(config: DictConfig) -> None:
        try:
            with locked(Path(HydraConfig.get().runtime.output_dir)):
                _work(prepare, execute, config, in_sweep=False)
        except FFAttnError as error:
            errors.append(error)

    _run_hydra(name, job)
    if errors:
        raise errors[0]


def _run_hydra(name: str, job: Callable[[DictConfig], object]) -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us instead of Hydra's printer
    hydra.main(config_path=str(conf_dir()), config_name=name, version_base="1.3")(job)()
