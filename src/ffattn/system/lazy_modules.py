"""Modules that are imported when something is asked of them."""

from collections.abc import Callable, Collection
from importlib import import_module
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """Stands for a module until then, and hands on what is asked of it.

    Args:
        name: Of the module.
    """

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module(self.__name__), name)
        setattr(self, name, found)
        return found


def names_from(
    package: str, names: Collection[str], *modules: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return a package's `__getattr__`, which looks for a name in its modules, one after the other; and its `__dir__`.

    Args:
        package: Full name of the package.
        names: What it offers.
        *modules: Those that have these names, below the package: the quickest to import first.
    """

    def find(name: str) -> Any:
        """Import the module that has a name, and keep it in the package."""
        if name in names:
            for module in modules:
                found = vars(import_module(f"{package}.{module}"))
                if name in found:
                    setattr(import_module(package), name, found[name])
                    return found[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find, lambda: sorted({*vars(import_module(package)), *names})
