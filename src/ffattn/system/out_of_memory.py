"""Out of memory: who says so in how many ways, and what helps."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ffattn.errors import TrainingError

_OF_TORCH = "can't allocate memory", "not enough memory"  # of its CPU allocator, which has no error of its own


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error is of an allocation that failed: of Python or NumPy, of a GPU, or of torch on the CPU.

    Args:
        error: Any.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_TORCH)


@contextmanager
def memory_errors(batch_size: int, accumulate: int, is_parted: bool) -> Iterator[None]:
    """Say in one line what was asked for, and which override needs half of it.

    Args:
        batch_size: Sequences in a batch.
        accumulate: Batches in an update.
        is_parted: Whether batches are taken in parts already.

    Raises:
        TrainingError: Memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        words = re.sub(r"^\[enforce fail at .*?\] .*? 0\. ", "", str(error).partition("\n")[0])
        halves = f"batch_size={max(1, batch_size // 2)} trainer.accumulate={2 * accumulate}"
        advice = f"{halves} takes as many sequences for an update, and half the memory; so does a smaller T"
        if not is_parted:
            advice += "; trainer.on_oom=accumulate takes batches in parts where it has to"
        raise TrainingError(f"out of memory: {words or type(error).__name__}; {advice}") from error
