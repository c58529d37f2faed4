"""Hydra's own errors, in one line each."""

import difflib
import re

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError  # type: ignore[import-untyped]

from ffattn.config.errors import nearest
from ffattn.config.paths import conf_dir
from ffattn.config.synonyms import synonym

_EXTRAS = {  # choices that come with packages of their own
    ("hydra/launcher", "joblib"): "sweep",
    ("hydra/launcher", "ray"): "ray",
    ("hydra/launcher", "submitit_local"): "sweep",
    ("hydra/launcher", "submitit_slurm"): "sweep",
    ("hydra/sweeper", "optuna"): "sweep",
}


def explain(error: Exception, defaults: DictConfig | None) -> str:
    """Say what is wrong with a command line.

    Args:
        error: What Hydra or OmegaConf raised.
        defaults: The configuration with the chosen groups and nothing else, to find the nearest key in.

    Returns:
        One line.
    """
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be read as an override; write key=value, with quotes around special characters"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _missing_choice(error)
    if isinstance(error, YAMLError):
        return " ".join(str(error).split())  # it names the file and the line
    first = next(iter(str(error).splitlines()), type(error).__name__)
    if twice := re.match(r"Multiple values for (\S+)\. To override .*'override \S+: (\S+)'", first):
        return f"+{twice.group(1)}={twice.group(2)}: has a choice already; write it without the +"
    unknown = re.match(r"Could not (?:override|append to config|delete from config)[^']*'([^']+)'", first)
    if unknown and defaults is not None:
        return _unknown_key(unknown.group(1), defaults, first)
    return first


def _missing_choice(error: MissingConfigException) -> str:
    group, _, choice = str(error.missing_cfg_file).rpartition("/")
    options = list(error.options or [])
    if not group:
        return f"--config-name={choice}: there is no such file"
    if (extra := _EXTRAS.get((group, choice))) is not None:
        return f"{group}={choice}: is not installed; pip install 'ffattn[{extra}]' brings it"
    close = difflib.get_close_matches(choice, options, n=2, cutoff=0.7)
    hint = f"; did you mean {' or '.join(sorted(close))}?" if close else ""
    return f"{group}={choice}: no such choice{hint} ({group} has {', '.join(options)})"


def _unknown_key(name: str, defaults: DictConfig, message: str) -> str:
    key = name.partition("@")[0]
    if message.startswith("Could not append"):
        return f"{key}: exists already; write it without the +"
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
    keys = [*groups, *_keys(defaults)]
    if (ours := synonym(key, keys)) is not None:
        return f"{key}: unknown key; use {ours}"
    parent, _, leaf = key.rpartition(".")
    moved = [name for name in keys if parent and name.endswith(f".{parent}")]  # length.min is task.length.min
    hint = f"; did you mean {moved[0]}.{leaf}?" if moved else nearest(key, keys)
    siblings = OmegaConf.select(defaults, parent) if parent else defaults
    if hint or not isinstance(siblings, DictConfig):
        return f"{key}: unknown key{hint}"
    names = [name for name in map(str, siblings) if name != "_target_"]
    names += [] if parent else [group for group in groups if group not in names]
    owner = parent or "the root"
    return f"{key}: unknown key ({owner} has {', '.join(names)})"


def _keys(node: DictConfig, path: str = "") -> list[str]:
    """Every dotted key, the groups included."""
    keys = []
    for name in node:
        key = path + str(name)
        keys.append(key)
        if not OmegaConf.is_missing(node, name) and not OmegaConf.is_interpolation(node, str(name)):
            keys += _keys(node[name], f"{key}.") if isinstance(node[name], DictConfig) else []
    return [key for key in keys if not key.endswith("_target_")]
