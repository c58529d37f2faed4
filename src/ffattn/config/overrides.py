"""Overrides as they are written elsewhere, in the form that Hydra takes for these configurations."""

import dataclasses
import typing
from collections.abc import Iterable

from ffattn.config.schema import Train

NULL_GROUPS = "experiment", "sweep"  # without a choice until one is given, so that others write a + in front
_NONE_GROUPS = ("logger",)  # have a choice that is called none


def usual(words: Iterable[str]) -> list[str]:
    """Return overrides as Hydra takes them.

    `+experiment=fast` is `experiment=fast`, `~logger` is `logger=none`, and `~trainer.patience` is
    `trainer.patience=null`: Hydra deletes nothing that is null.

    Args:
        words: Of a command line, options among them.
    """
    return [_usual(word) for word in words]


def _usual(word: str) -> str:
    key = word[1:].partition("=")[0]
    if word.startswith("+") and key in NULL_GROUPS:
        return word[1:]
    if not word.startswith("~") or "=" in word:
        return word
    if key in _NONE_GROUPS:
        return f"{key}=none"
    return f"{key}=null" if _may_be_null(key) else word


def _may_be_null(key: str) -> bool:
    """Whether a dotted key is a setting of a training that may be null."""
    kind: typing.Any = Train
    for name in key.split("."):
        hints = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        if name not in hints:
            return False
        kind = hints[name]
    return type(None) in typing.get_args(kind)
