"""What several unit tests share."""

import inspect
import itertools
from collections.abc import Iterator
from typing import ClassVar, get_origin

import torch
from torch import Tensor


def concrete_subclasses(base: type, package: str) -> list[type]:
    """The classes of a package that derive from `base` and lack nothing, sorted by name."""
    own = {cls for cls in _walk(base) if cls.__module__.startswith(f"{package}.") and _lacks_nothing(cls)}
    return sorted(own, key=lambda cls: cls.__name__)


def _walk(cls: type) -> Iterator[type]:
    yield cls
    for subclass in cls.__subclasses__():
        yield from _walk(subclass)


def _lacks_nothing(cls: type) -> bool:
    """No method is abstract, and every class variable that a base declares has a value."""
    declared = (item for base in cls.__mro__ for item in inspect.get_annotations(base).items())
    return not inspect.isabstract(cls) and all(
        hasattr(cls, name) for name, kind in declared if get_origin(kind) is ClassVar
    )


def spoil_padding(x: Tensor, lengths: Tensor) -> Tensor:
    """The same sequences, with NaN, inf, -inf and 1e30 in turn wherever a sequence has ended."""
    garbage = itertools.cycle((torch.nan, torch.inf, -torch.inf, 1e30))
    spoiled = x.detach().clone()
    for row, length in zip(spoiled, lengths.tolist(), strict=True):
        for step in row[length:]:
            step.fill_(next(garbage))
    return spoiled
