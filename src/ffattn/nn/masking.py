"""Which steps are real, and what happens to those that are not."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ffattn.ops import require_lengths

# torch has no public name for either. Without the first a check waits for the GPU; without the second a stack of models
# under torch.func.vmap cannot be told from a tensor, and torch refuses to read it.
_assert_async: Callable[..., None] | None = getattr(torch, "_assert_async", None)
_is_batched: Callable[[Tensor], bool] | None = getattr(getattr(torch._C, "_functorch", None), "is_batchedtensor", None)


def resolve_lengths(
    x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None
) -> Int[Tensor, " batch"]:
    """Return how many steps of each sequence are real: what was given, or all.

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
        _require_on(1, time, lengths, f"lengths must be on 1..{time}, the number of steps")
    return lengths.long()


def _require_on(low: int, high: int, numbers: Int[Tensor, " batch"], message: str) -> None:
    """Raise if a number is not on low..high: by what takes least time, which counts in a short step."""
    if not _can_be_read(numbers):
        require(numbers.clamp(low, high) == numbers, message)
        return
    least, most = map(int, numbers.aminmax())
    if least < low or most > high:
        raise ValueError(message)


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
    """Raise if an element is false; on a GPU as a device assertion, which needs no synchronisation.

    Args:
        condition: What must hold; not checked in a compiled or exported graph, nor under torch.func.vmap.
        message: Of the error.

    Raises:
        ValueError: An element is false.
    """
    if _can_be_read(condition):
        if not condition.all():
            raise ValueError(message)
    elif condition.is_cuda and not _is_traced(condition) and _assert_async is not None:
        _assert_async(condition.all(), message)


def _is_traced(tensor: Tensor) -> bool:
    """Tell whether it stands for others: a compiled or exported graph, or a stack of models under torch.func.vmap."""
    return torch.compiler.is_compiling() or (_is_batched is not None and _is_batched(tensor))


def _can_be_read(tensor: Tensor) -> bool:
    """Tell whether Python can branch on its numbers: at no cost, unless there is no assertion on the device."""
    return not (_is_traced(tensor) or (tensor.is_cuda and _assert_async is not None))


def clear_padding(x: Float[Tensor, "batch time feature"], valid: Bool[Tensor, "batch time"]) -> Tensor:
    """Return x with zeros where a step does not count, so that whatever was there, NaN included, reaches no result."""
    return x.masked_fill(~valid[..., None], 0.0)
