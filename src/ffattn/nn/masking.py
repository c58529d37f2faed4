"""Which steps are real, and what happens to those that are not."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ffattn.ops import require_lengths


def resolve_lengths(
    x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None
) -> Int[Tensor, " batch"]:
    """How many steps of each sequence are real: what was given, or all.

    Args:
        x: The sequences.
        lengths: How many steps of each sequence are real, or None.

    Returns:
        Lengths in int64.

    Raises:
        ValueError: A length is not on 1..time, or no integer, or shape or device do not fit.
    """
    batch, time = x.shape[:2]
    if lengths is None:
        if time == 0:
            raise ValueError("a sequence without steps has no context")
        return torch.full((batch,), time, device=x.device)
    require_lengths(lengths, x)
    if batch > 0:
        require(_is_on(1, time, lengths), f"lengths must be on 1..{time}, the number of steps")
    return lengths.long()


def _is_on(low: int, high: int, numbers: Int[Tensor, " batch"]) -> Bool[Tensor, "*batch"]:
    """Whether all are on low..high. What takes least time counts in a short step: it differs between CPU and GPU."""
    if numbers.is_cuda:  # fewest kernels
        return numbers.clamp(low, high) == numbers
    least, most = numbers.aminmax()
    return (least >= low) & (most <= high)


def check_mask(x: Float[Tensor, "batch time feature"], mask: Bool[Tensor, "batch time"]) -> None:
    """Refuse a mask that does not fit, or leaves a sequence without a step.

    Args:
        x: The sequences.
        mask: True where a step is real, in any pattern.

    Raises:
        ValueError: The shape does not fit, or a sequence has no real step.
    """
    if mask.shape != x.shape[:2]:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; must be {tuple(x.shape[:2])}")
    require(mask.any(dim=1), "every sequence needs at least one step under the mask")


def require(condition: Bool[Tensor, "*batch"], message: str) -> None:
    """Raise if an element is false; on a GPU as a device assertion, which needs no synchronisation."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_batchedtensor(condition):
        return  # an exported or compiled graph cannot branch on data, nor can a stack of models under torch.func.vmap
    if condition.is_cuda:
        torch._assert_async(condition.all(), message)
    elif not condition.all():
        raise ValueError(message)


def clear_padding(x: Float[Tensor, "batch time feature"], valid: Bool[Tensor, "batch time"]) -> Tensor:
    """Put zeros where a step does not count, so that whatever was there, NaN included, reaches no result."""
    return x.masked_fill(~valid[..., None], 0.0)
