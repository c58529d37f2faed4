"""The choice of a compiled implementation for a kind of device: Numba on the CPU, Triton on NVIDIA GPUs, or none."""

import importlib
import importlib.util
import sys
from functools import cache
from types import ModuleType

_COMPILERS = {"cpu": "numba", "cuda": "triton"}


@cache
def _has_compiler(device: str) -> bool:
    """Tell whether the compiler for a kind of device is installed; print one line to stderr where it is missing."""
    compiler = _COMPILERS.get(device)
    if compiler is None or importlib.util.find_spec(compiler) is not None:
        return compiler is not None
    print(f"ffattn: {compiler} is not installed: plain PyTorch instead, many times slower", file=sys.stderr)
    return False


@cache
def compiled(package: str, device: str) -> ModuleType | None:
    """Return the compiled implementation in a package: its module `cpu` or `triton`; None where there is none.

    Args:
        package: Name of the package, such as `ffattn.ops`, which has a plain twin in `reference`.
        device: Kind of device, as in `tensor.device.type`.
    """
    if not _has_compiler(device):
        return None
    return importlib.import_module(f"{package}.{'cpu' if device == 'cpu' else 'triton'}")
