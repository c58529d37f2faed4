"""Which steps are real, and what happens to those that are not."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ffattn.ops import require_lengths

# torch has no public name for the first and the last. Without the first a check waits for the GPU, and compiled graphs
# are not checked; without the last a stack of models under torch.func.vmap cannot be told from a tensor, and torch
# refuses to read it. The second is new in torch 2.7: before, a compiled graph could be one that is exported.
_assert_async: Callable[..., None] | None = getattr(torch, "_assert_async", None)
_is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)
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


_LOOKS_INVERTED = (
    "mask looks inverted: in every sequence all real steps come after all padding; True = real step, so give ~mask; "
    "for padding on the left, cut the steps that are padding in all: sequence[:, keep], mask[:, keep], with "
    "keep = mask.any(dim=0)"
)


def check_mask(x: Float[Tensor, "batch time feature"], mask: Bool[Tensor, "batch time"]) -> None:
    """Refuse a mask that does not fit, leaves a sequence without a step, or looks like the opposite of one.

    A mask of padding, which is how torch's Transformers have it, is the opposite of this one. Every sequence then
    begins with steps that do not count, and ends with all those that do. Sequences that are padded on the left look the
    same only if the longest of them is padded, too.

    Args:
        x: The sequences.
        mask: True where a step is real, in any pattern.

    Raises:
        ValueError: The type or shape does not fit, a sequence has no real step, or the mask looks inverted.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}; must be torch.bool, True = real step (mask == 1, if that is yours)")
    if mask.shape != x.shape[:2]:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; must be {tuple(x.shape[:2])}")
    require(mask.any(dim=1), "every sequence needs at least one step under the mask, where True = real step")
    if not mask.numel() or (_can_be_read(mask) and mask[:, 0].any()):  # in most masks a first step is real
        return
    goes_on = (mask[:, 1:] | ~mask[:, :-1]).all(dim=1)
    require((mask[:, 0] | ~goes_on).any(), _LOOKS_INVERTED)


def require(condition: Bool[Tensor, "*batch"], message: str) -> None:
    """Raise if an element is false; where Python cannot read it, by an assertion that is a part of the computation.

    That is so in a compiled graph, and on a GPU, which need not be waited for.

    Args:
        condition: What must hold; not checked in an exported graph, nor under torch.func.vmap.
        message: Of the error.

    Raises:
        ValueError: An element is false.
        RuntimeError: Likewise, in a compiled graph or on a GPU.
    """
    if _can_be_read(condition):
        if not condition.all():
            raise ValueError(message)
    elif _assert_async is not None and not (_is_exporting() or _is_stacked(condition)):
        _assert_async(condition.all(), message)


def _is_traced(tensor: Tensor) -> bool:
    """Tell whether it stands for others: a compiled or exported graph, or a stack of models under torch.func.vmap."""
    return torch.compiler.is_compiling() or _is_stacked(tensor)


def _is_stacked(tensor: Tensor) -> bool:
    """Tell whether it is of a stack of models under torch.func.vmap."""
    return _is_batched is not None and _is_batched(tensor)


def _can_be_read(tensor: Tensor) -> bool:
    """Tell whether Python can branch on its numbers: at no cost, unless there is no assertion on the device."""
    return not (_is_traced(tensor) or (tensor.is_cuda and _assert_async is not None))


def clear_padding(x: Float[Tensor, "batch time feature"], valid: Bool[Tensor, "batch time"]) -> Tensor:
    """Return x with zeros where a step does not count, so that whatever was there, NaN included, reaches no result."""
    return x.masked_fill(~valid[..., None], 0.0)
