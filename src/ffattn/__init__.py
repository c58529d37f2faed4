"""Feed-forward attention for long-term memory problems.

    import ffattn
    run = ffattn.fit(task="add", T=100)                           # train, as the command does
    trained = ffattn.load("outputs/mine/checkpoints/best.ckpt")   # or take up a checkpoint
    trained.predict(x, lengths)

The parts: `ffattn.nn` (layers), `ffattn.tasks`, `ffattn.models`, `ffattn.lightning`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ffattn.system import quick_start, signals

if TYPE_CHECKING:
    from ffattn.api import fit, load

if signals.is_command():
    signals.take_over()  # before imports that take seconds
if signals.is_command() or quick_start.is_part_of_command():
    quick_start.start_quickly()

# Threads that spin while they wait cost up to 80 times when another process has a core; read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the commands' mistakes and help do not wait for torch."""
    if name in {"fit", "load"}:
        return getattr(import_module("ffattn.api"), name)
    if name in {"nn", "tasks", "models", "lightning"}:
        return import_module(f"ffattn.{name}")
    raise AttributeError(f"module 'ffattn' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names for completion, those that are imported on first use included."""
    return [*__all__, "lightning", "models", "nn", "tasks"]
