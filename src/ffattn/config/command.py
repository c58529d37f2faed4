"""How a command starts: every mistake that can be seen before any work is seen before any work.

Hydra makes the run directory, and prints two lines of its own under every error, before a job's function is called. So
the configuration is composed and checked first, and Hydra runs after that. A sweep is in `config.sweeps`.
"""

import argparse
import copy
import os
import signal
import string
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.compose import Loader, compose_config, resolve_value, without_hydra
from ffattn.config.errors import ConfigError, DiskError, disk_errors, wants_traceback
from ffattn.config.explain import explain
from ffattn.config.hydra_access import VERSION_BASE, choices_of, command_line_parser
from ffattn.config.jobs import Command, Finished
from ffattn.config.lock import locked
from ffattn.config.overrides import usual
from ffattn.config.paths import conf_dir
from ffattn.config.precomposed import JobCallbacks
from ffattn.config.sweeps import run_sweep
from ffattn.errors import FFAttnError
from ffattn.system import signals
from ffattn.system.ranks import world

_SHOWING = ("cfg", "info")  # of one job
_PRINTING = ("hydra_help", "shell_completion")


def run_command(command: Command) -> None:
    """Run a command line from start to end; exits with status 1 after one message if the user made a mistake.

    Args:
        command: What is done.
    """
    arguments = read_arguments()
    with short_errors():
        _refuse_other_roots(arguments)
        if arguments.help:
            print(_help(arguments, command.name))
        elif any(getattr(arguments, option) for option in _SHOWING):
            _show(arguments, command.name)
        elif any(getattr(arguments, option) for option in _PRINTING):
            _run_hydra(command.name, lambda config: None)
        elif arguments.multirun or "hydra.mode=MULTIRUN" in arguments.overrides:
            _exit(run_sweep(command, arguments.overrides, arguments.config_dir))
        elif world().rank > 0:
            _run_beside(arguments, command)
        else:
            _run_one(arguments, command)


def run_tool(name: str, work: Callable[[DictConfig], None]) -> None:
    """Run a command that writes one file, where it is told to, and needs no directory of its own.

    Args:
        name: Its YAML file, without suffix.
        work: What is done, given the configuration.
    """
    arguments = read_arguments()
    with short_errors():
        _refuse_other_roots(arguments)
        if arguments.help:
            print(_help(arguments, name))
        elif any(getattr(arguments, option) for option in _SHOWING):
            _show(arguments, name)
        elif any(getattr(arguments, option) for option in _PRINTING):
            _run_hydra(name, lambda config: None)
        elif arguments.multirun:
            raise ConfigError(f"-m: python -m ffattn.{name} does one thing at a time")
        else:
            work(compose_config(name, arguments.overrides, arguments.config_dir))


def read_arguments() -> argparse.Namespace:
    """Return the command line, as Hydra reads it; and let the user's own modules be imported."""
    with short_errors():
        parser = command_line_parser()
    words = sorted(sys.argv[1:], key=lambda word: not _is_option(word))  # Hydra wants options before overrides
    sys.argv[1:] = usual(words)
    arguments = parser.parse_args()
    _extend_import_path(arguments.config_dir)
    return arguments


def _exit(status: int) -> None:
    if status:
        sys.exit(status)


def _is_option(word: str) -> bool:
    """Whether a word of the command line is an option that stands for itself: -m, or --config-dir=FOLDER."""
    return word in {"-m", "--multirun"} or (word.startswith("--") and "=" in word)


def _refuse_other_roots(arguments: argparse.Namespace) -> None:
    """The root file decides which command this is; and Hydra's way to run a job again would unpickle a file."""
    if arguments.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun: is not supported; repeat the overrides in .hydra/overrides.yaml")
    for option in ("config_name", "config_path"):
        if getattr(arguments, option) is not None:
            flag = f"--{option.replace('_', '-')}"
            raise ConfigError(f"{flag}: is not supported; use --config-dir=FOLDER or experiment=NAME")


@contextmanager
def short_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with status 1; `HYDRA_FULL_ERROR=1` shows where it came from."""
    is_full = wants_traceback()  # Hydra's starter sets it, too
    try:
        with disk_errors("a file cannot be written"):
            yield
    except (FFAttnError, HydraException, OmegaConfBaseException) as error:
        if is_full:
            raise
        if world().rank == 0 or isinstance(error, DiskError):  # of other mistakes all say the same
            print(error if isinstance(error, FFAttnError) else explain(error, None), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # outside of training, which has a word of its own
        signals.say("interrupted")
        sys.exit(128 + signal.SIGINT)


def _extend_import_path(config_dir: str | None) -> None:
    """The folder above `--config-dir` is where a user's own tasks and models are."""
    if config_dir is not None:
        folder = str(Path(config_dir).resolve().parent)
        sys.path.insert(0, folder)
        # of the processes, too, that a launcher starts
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


def _help(arguments: argparse.Namespace, name: str) -> str:
    """Return what a command takes, by Hydra's template for it, with the choices and values of its command line."""
    loader = Loader(name, arguments.config_dir)
    config = loader.compose(arguments.overrides)
    template = string.Template(config.hydra.help.template)
    taken = config.hydra.runtime.choices
    choices = {group: names for group, names in choices_of(loader.hydra_loader).items() if group.split("/")[0] in taken}
    groups = "".join(f"{group}: {', '.join(names)}\n" for group, names in choices.items())
    values = OmegaConf.to_yaml(without_hydra(config), resolve=arguments.resolve)
    return template.safe_substitute(APP_CONFIG_GROUPS=groups, CONFIG=values)


def _show(arguments: argparse.Namespace, name: str) -> None:
    """Let Hydra print what it would run, unless there is a mistake in it."""
    option = next(f"--{option}={value}" for option in _SHOWING if (value := getattr(arguments, option)))
    if arguments.multirun:
        raise ConfigError(f"{option}: shows one job; leave out -m, and choose one value for each key")
    compose_config(name, arguments.overrides, arguments.config_dir)
    _run_hydra(name, lambda config: None)


def _run_beside(arguments: argparse.Namespace, command: Command) -> None:
    """Take part in a run that torchrun or srun has started in several processes; the first one keeps the directory."""
    config = Loader(command.name, arguments.config_dir).compose(arguments.overrides)
    run_dir = Path(resolve_value(config, "hydra.run.dir"))
    command.execute(command.prepare(without_hydra(config), run_dir, False), run_dir, False)


def _is_sweep(loader: Loader, overrides: list[str]) -> bool:
    """Whether a file says so; of several values nothing else is asked than that they are there."""
    single = [str(override.input_line) for override in loader.parse(overrides) if not override.is_sweep_override()]
    return len(single) < len(overrides) and loader.compose(single).hydra.mode == RunMode.MULTIRUN


def _run_one(arguments: argparse.Namespace, command: Command) -> None:
    loader = Loader(command.name, arguments.config_dir)
    if _is_sweep(loader, arguments.overrides):
        _exit(run_sweep(command, arguments.overrides, arguments.config_dir))
        return
    config = loader.compose(arguments.overrides)
    if config.hydra.mode == RunMode.MULTIRUN:  # said by a file
        _exit(run_sweep(command, arguments.overrides, arguments.config_dir))
        return
    run_dir = Path(resolve_value(config, "hydra.run.dir"))
    if not isinstance(command.prepare(without_hydra(copy.deepcopy(config)), run_dir, False), Finished):
        signals.will_say("interrupted")  # Hydra writes, in a directory with the time of now in its name
        _run_alone(command, loader, config)


def _run_alone(command: Command, loader: Loader, config: DictConfig) -> None:
    """Run one job; what it raises goes around Hydra, which would put a line of its own above the message.

    Hydra's own command would compose the configuration twice more.
    """
    errors: list[FFAttnError] = []

    def job(config: DictConfig) -> None:
        """Work in the directory that Hydra has made."""
        try:
            folder = Path(HydraConfig.get().runtime.output_dir)
            signals.will_say(command.interrupted(folder))
            with disk_errors(folder), locked(folder):
                command.work(config, folder, in_sweep=False)
        except FFAttnError as error:
            errors.append(error)

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us instead of Hydra's printer
    config.hydra.mode = RunMode.RUN
    callbacks = JobCallbacks(config)
    context = HydraContext(config_loader=loader.hydra_loader, callbacks=callbacks)  # type: ignore[arg-type]
    callbacks.on_run_start(config=config, config_name=command.name)
    done = run_job(job, config, job_dir_key="hydra.run.dir", job_subdir_key=None, hydra_context=context)
    callbacks.on_run_end(config=config, config_name=command.name, job_return=done)
    _ = done.return_value  # raises what the job has raised
    if errors:
        raise errors[0]


def _run_hydra(name: str, job: hydra.types.TaskFunction) -> None:
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us instead of Hydra's printer
    hydra.main(config_path=str(conf_dir()), config_name=name, **VERSION_BASE)(job)()
