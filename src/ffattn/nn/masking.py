"""Which steps are real, and what happens to those that are not."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ffattn.ops.reference import valid_steps


def resolve_mask(
    x: Float[Tensor, "batch time feature"],
    lengths: Int[Tensor, " batch"] | None,
    mask: Bool[Tensor, "batch time"] | None = None,
) -> Bool[Tensor, "batch time"]:
    """The steps that count, from lengths or a mask; all of them if neither is given.

    Args:
        x: The sequence that the mask is for.
        lengths: How many steps of each sequence are real.
        mask: True where a step is real, in any pattern.

    Returns:
        True where a step counts.

    Raises:
        ValueError: Both are given, a shape does not fit, or a sequence has no real step or more than there are.
    """
    batch, time = x.shape[:2]
    if lengths is not None and mask is not None:
        raise ValueError("give lengths or mask, not both")
    if mask is not None:
        if mask.shape != (batch, time):
            raise ValueError(f"mask has shape {tuple(mask.shape)}; must be {(batch, time)}")
        _require(mask.any(dim=1), "every sequence needs at least one step under the mask")
        return mask
    if lengths is None:
        _require(torch.tensor(time > 0), "a sequence without steps has no context")
        return torch.ones(batch, time, dtype=torch.bool, device=x.device)
    if lengths.shape != (batch,):
        raise ValueError(f"lengths has shape {tuple(lengths.shape)}; must be {(batch,)}")
    _require((lengths >= 1) & (lengths <= time), f"lengths must be on 1..{time}, the number of steps")
    return valid_steps(lengths, time)


def _require(condition: Tensor, message: str) -> None:
    """Raise if an element is false; on a GPU as a device assertion, which needs no synchronisation."""
    if torch.compiler.is_compiling():
        return  # an exported or compiled graph cannot branch on data
    if condition.is_cuda:
        torch._assert_async(condition.all(), message)
    elif not condition.all():
        raise ValueError(message)


def clear_padding(x: Float[Tensor, "batch time feature"], valid: Bool[Tensor, "batch time"]) -> Tensor:
    """Put zeros where a step does not count, so that whatever was there, NaN included, reaches no result."""
    return x.masked_fill(~valid[..., None], 0.0)
