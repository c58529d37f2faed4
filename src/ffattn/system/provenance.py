"""Where a result comes from: versions, commit, device, memory."""

import platform
import resource
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("ffattn", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy")


def provenance(device: torch.device) -> dict[str, Any]:
    """Return what a result should say of where it comes from.

    Args:
        device: Where it was computed.

    Returns:
        `device`, `versions`, `commit` and `command`.
    """
    return {"device": device_name(device), "versions": versions(), "commit": commit(), "command": _command_words()}


def _command_words() -> list[str]:
    """The words of the command line, the same wherever the package is installed."""
    program, *words = sys.argv
    is_own = Path(program).resolve().parent == Path(__file__).resolve().parents[1]
    return [*(("python", "-m", f"ffattn.{Path(program).stem}") if is_own else (program,)), *words]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on; torch's with its build (+cu130)."""
    own = {"python": platform.python_version(), "torch": str(torch.__version__)}
    return own | {name: _package_version(name) for name in _PACKAGES}


def _package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from its sources, without an installation
        return "unknown"


def commit() -> str | None:
    """Return the commit of the checkout that this runs from, `-dirty` if it has changes; None in an installation."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # there is no git
        return None
    return done.stdout.strip() or None


def device_name(device: torch.device) -> str:
    """Return the GPU's name, or the processor with its number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"cpu ({platform.machine()}, {threads} thread{'s' if threads > 1 else ''})"


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory in MB (10^6 bytes): of tensors on a GPU, or of this whole process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
