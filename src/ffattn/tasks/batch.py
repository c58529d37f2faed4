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


def as_batch(given: Any, is_classification: bool) -> Batch:
    """Return the batch that a DataLoader of one's own gives.

    Args:
        given: (x, y), or (x, lengths, y), or a dictionary with these names, where `lengths` may be left out if all
            steps are real. A target of one number may be (batch,).
        is_classification: Whether targets are class indices.

    Raises:
        ValueError: It is none of these, or its parts do not fit each other.
    """
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
    return Batch(x, lengths, _targets(y, is_classification), lengths.new_zeros(len(x), 0))


def _targets(y: Tensor, is_classification: bool) -> Tensor:
    """Class indices, (batch,), or numbers, (batch, output); in other shapes a loss would pair each with all."""
    if is_classification:
        if y.ndim != 1 or y.is_floating_point():
            raise ValueError(f"y is {y.dtype} {tuple(y.shape)}; must be class indices, integers (batch,)")
        return y.long()
    if y.ndim > 2:
        raise ValueError(f"y is {y.dtype} {tuple(y.shape)}; must be numbers, (batch,) or (batch, output)")
    numbers = y if y.is_floating_point() else y.float()
    return numbers.unsqueeze(1) if y.ndim == 1 else numbers


def _named(given: Any) -> dict[str, Any]:
    """Return the parts of a tuple by name; no part, if there are not two or three."""
    if not isinstance(given, tuple | list) or len(given) not in {2, 3}:
        return {}
    return dict(zip(_NAMES if len(given) == 3 else ("x", "y"), given, strict=True))
