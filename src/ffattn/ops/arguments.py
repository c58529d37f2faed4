"""What the operators ask of their arguments: one line that names what does not fit, before a kernel sees it."""

import torch
from torch import Tensor

from ffattn.choices import MEAN, NORMALIZERS

_PARAMETER_TYPES = (torch.float32, torch.bfloat16, torch.float16)  # for any sequences; others for their own alone


def _require_place(name: str, tensor: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a tensor of another shape or on another device, in a line that says which."""
    if tensor is None:
        return
    if tensor.shape != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; must be {tuple(shape)}")
    if tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device}; the sequences are on {like.device}")


def require_parameter(name: str, tensor: Tensor | None, shape: tuple[int, ...], like: Tensor) -> None:
    """Refuse a parameter that does not fit, or that would lose half of its digits without a word.

    Args:
        name: Of the parameter.
        tensor: The parameter, or None.
        shape: What its shape must be.
        like: The sequences, whose device it must be on.

    Raises:
        ValueError: A shape, type or device does not fit.
    """
    _require_place(name, tensor, shape, like)
    if tensor is not None and not (tensor.dtype in _PARAMETER_TYPES or tensor.dtype == like.dtype):
        allowed = " or ".join(map(str, dict.fromkeys((*_PARAMETER_TYPES, like.dtype))))
        raise ValueError(f"{name} is {tensor.dtype}; must be {allowed} for sequences in {like.dtype}")


def require_lengths(lengths: Tensor, x: Tensor) -> None:
    """Refuse lengths that are not one integer for each sequence.

    Args:
        lengths: How many steps of each sequence are real.
        x: The sequences, (batch, ...).

    Raises:
        ValueError: A type, shape or device does not fit.
    """
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"lengths are {lengths.dtype}; must be integers")
    _require_place("lengths", lengths, x.shape[:1], x)


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse an unknown option.

    Args:
        name: Of the option.
        value: What was given.
        choices: What is known.

    Raises:
        ValueError: The value is none of the choices.
    """
    if value not in choices:
        raise ValueError(f"{name}={value}: must be one of {', '.join(choices)}")


def check_common(
    x: Tensor,
    lengths: Tensor,
    queries: tuple[Tensor | None, Tensor | None],
    jitter: tuple[Tensor | None, Tensor | None],
    hidden: int,
    normalizer: str,
) -> None:
    """Refuse arguments that fit neither operator.

    Args:
        x: The sequences.
        lengths: How many steps of each sequence are real.
        queries: Query and its bias.
        jitter: Shift and scale.
        hidden: Size of the states.
        normalizer: How weights are made.

    Raises:
        ValueError: A shape, type, device or option does not fit.
    """
    query, query_bias = queries
    shift, scale = jitter
    if not x.is_floating_point():
        raise ValueError(f"sequences are {x.dtype}; must be floating-point numbers")
    require_lengths(lengths, x)
    require_choice("normalizer", normalizer, NORMALIZERS)
    if (query is None) != (normalizer == MEAN) or (query_bias is None) != (query is None):
        raise ValueError("query and query_bias belong to every normalizer but mean")
    require_parameter("query", query, (hidden,) if query is not None and query.ndim == 1 else (1, hidden), x)
    require_parameter("query_bias", query_bias, (1,), x)
    _require_place("shift", shift, (), x)
    _require_place("scale", scale, x.shape[:1], x)


def check_values(lengths: Tensor, scale: Tensor | None, time: int) -> None:
    """Refuse what would read beyond a sequence, or overflow; on a GPU the kernels stand both, and reading stalls it.

    Args:
        lengths: How many steps of each sequence are real.
        scale: Factors of the scores, or None.
        time: How many steps there are.

    Raises:
        ValueError: A length is not on 0..time, or a scale is negative.
    """
    if lengths.device.type != "cpu" or lengths.shape[0] == 0:
        return
    low, high = map(int, lengths.aminmax())
    if not 0 <= low <= high <= time:
        raise ValueError(f"lengths must be on 0..{time}, the number of steps; got {low}..{high}")
    if scale is not None and scale.min() < 0:
        raise ValueError(f"scale must not be negative; got {scale.min().item():g}")
