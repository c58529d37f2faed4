"""The batch that every task makes and every model reads.

Axes, everywhere in this package: batch, time, feature, hidden.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ffattn.system.lazy import Float, Int, Tensor, torch

_NAMES = "x", "lengths", "y"


class Batch(NamedTuple):
    """Sequences with their targets.

    Attributes:
        x: Inputs, (batch, time, feature). Zero from each sequence's length on.
        lengths: How many steps of each sequence are real, (batch,), 1..time.
        y: Targets: (batch, output) numbers, or (batch,) class indices.
        relevant_steps: Steps that the target depends on, (batch, relevant), 0-based, in the order in which the task
            drew them.
    """

    x: Float[Tensor, "batch time feature"]
    lengths: Int[Tensor, " batch"]
    y: Float[Tensor, "batch output"] | Int[Tensor, " batch"]
    relevant_steps: Int[Tensor, "batch relevant"]


def as_batch(given: Any) -> Batch:
    """Return the batch that a DataLoader of one's own gives.

    Args:
        given: A `Batch`; or (x, y), or (x, lengths, y), or a dictionary with these names, where `lengths` may be left
            out if all steps are real. A target of one number may be (batch,).

    Raises:
        ValueError: It is none of these, or its parts do not fit each other.
    """
    if isinstance(given, Batch):
        return given
    parts = given if isinstance(given, Mapping) else _named(given)
    are_tensors = all(isinstance(part, torch.Tensor) for part in parts.values())
    if not {"x", "y"} <= set(parts) <= set(_NAMES) or not are_tensors:
        raise ValueError("a batch must be (x, y), (x, lengths, y), or a dictionary of these tensors")
    x = parts["x"]
    y = parts["y"]
    lengths = parts.get("lengths")
    if x.ndim != 3 or len(y) != len(x) or (lengths is not None and lengths.shape != x.shape[:1]):
        shapes = ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items())
        raise ValueError(f"a batch has {shapes}; must be x (batch, time, feature), and (batch, ...) of the rest")
    if lengths is None:
        lengths = torch.full(x.shape[:1], x.shape[1], device=x.device)
    if y.is_floating_point() and y.ndim == 1:
        y = y.unsqueeze(1)
    return Batch(x, lengths, y, lengths.new_zeros(len(x), 0))


def _named(given: Any) -> dict[str, Any]:
    """Return the parts of a tuple by name; no part, if there are not two or three."""
    if not isinstance(given, tuple | list) or len(given) not in {2, 3}:
        return {}
    return dict(zip(_NAMES if len(given) == 3 else ("x", "y"), given, strict=True))
