"""What lets a command start sooner, and changes nothing else that it does.

Python's garbage collector searches what is imported again and again, and once more at the end, and finds nothing: a
third of the time. And torchmetrics, which Lightning imports for the names of two classes, imports scipy and matplotlib
wherever these are installed: a quarter of the time. Here both wait until somebody asks for what needs them.

Other programs import as they always do.
"""

import atexit
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ffattn.system.lazy_modules import LazyModule

_MARK = "FFATTN_COMMAND"  # which the processes inherit that a command starts
_SELDOM = 100_000  # objects between two searches while modules are imported
_USUAL = gc.get_threshold()


def is_part_of_command() -> bool:
    """Return whether a command has started this process: an agent, a rank, or a worker of a sweep."""
    return _MARK in os.environ


def start_quickly() -> None:
    """Do so in this process, and in those that it starts; to be called before anything large is imported."""
    os.environ[_MARK] = "1"
    gc.set_threshold(_SELDOM)
    atexit.register(gc.freeze)  # Python's own end then searches nothing
    sys.meta_path.insert(0, _QuickFinder())


@cache
def freeze_imports() -> None:
    """Keep the garbage collector from all that has been imported, and let it search the rest as often as usual."""
    gc.freeze()
    gc.set_threshold(*_USUAL)


class _QuickFinder:
    """Finds a few modules as Python does, and lets them be executed in another way."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how a module is imported, or None for all others."""
        loader = _LOADERS.get(name)
        spec = PathFinder.find_spec(name, path, target) if loader is not None else None
        if loader is None or spec is None or type(spec.loader) is not SourceFileLoader:
            return None
        spec.loader = loader(spec.loader.name, spec.loader.path)
        return spec


class _WhenNeeded(SourceFileLoader):
    """Executes a package's own file when something is asked of the package that it has not got."""

    def exec_module(self, module: ModuleType) -> None:
        """Leave the package empty but for a way to fill it.

        Args:
            module: The package.
        """

        def find(name: str) -> Any:
            """Fill the package, and return what was asked for."""
            del module.__dict__["__getattr__"]
            SourceFileLoader.exec_module(self, module)
            return getattr(module, name)

        module.__dict__["__getattr__"] = find


class _Metrics(_WhenNeeded):
    """Gives torchmetrics what Lightning and its own modules ask of it."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the base of all metrics.

        Args:
            module: torchmetrics.
        """
        super().exec_module(module)
        try:
            _fill(module)
        except (AttributeError, ImportError):  # another version, which has them elsewhere
            module.__dict__.pop("__getattr__", None)
            SourceFileLoader.exec_module(self, module)


def _fill(module: ModuleType) -> None:
    import logging
    from importlib.metadata import version

    module.__dict__["__version__"] = version("torchmetrics")
    module.__dict__["_logger"] = logging.getLogger("torchmetrics")
    import_module("torchmetrics.utilities")  # before the next, which it is in a circle with
    module.__dict__["Metric"] = import_module("torchmetrics.metric").Metric
    module.__dict__["MetricCollection"] = import_module("torchmetrics.collections").MetricCollection


class _PlotsWhenDrawn(SourceFileLoader):
    """Executes the module that draws metrics as if there were no matplotlib, and lets it import that for a drawing."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module.

        Args:
            module: `torchmetrics.utilities.plot`.
        """
        with _as_if_missing("matplotlib"):
            super().exec_module(module)
        module.__dict__["matplotlib"] = LazyModule("matplotlib")
        module.__dict__["plt"] = LazyModule("matplotlib.pyplot")


class _WithoutScipy(SourceFileLoader):
    """Lets Numba import scipy when it compiles linear algebra, which needs it, rather than to see that it can be."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module.

        Args:
            module: Of Numba.
        """
        is_hidden = "scipy" not in sys.modules and find_spec("scipy") is not None
        if is_hidden:
            sys.modules["scipy"] = None  # type: ignore[assignment]  # how Python is told that there is no such module
        try:
            super().exec_module(module)
        finally:
            if is_hidden:
                del sys.modules["scipy"]
        if is_hidden and "_HAVE_BLAS" in module.__dict__:
            module.__dict__["_HAVE_BLAS"] = True


@contextmanager
def _as_if_missing(package: str) -> Iterator[None]:
    """Let torchmetrics find that a package is not installed; it remembers nothing of that."""
    from lightning_utilities.core.imports import RequirementCache

    is_installed = RequirementCache.__bool__
    RequirementCache.__bool__ = lambda self: self.requirement != package and is_installed(self)  # type: ignore[method-assign]
    try:
        yield
    finally:
        RequirementCache.__bool__ = is_installed  # type: ignore[method-assign]


_LOADERS: dict[str, type[SourceFileLoader]] = {
    "torchmetrics": _Metrics,
    "torchmetrics.functional": _WhenNeeded,
    "torchmetrics.utilities.plot": _PlotsWhenDrawn,
    "numba": _WithoutScipy,
    "numba.np.arraymath": _WithoutScipy,
}
