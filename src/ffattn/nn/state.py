"""Attention over sequences that come in pieces."""

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributed import ProcessGroup

from ffattn.nn.exchange import merge_all
from ffattn.nn.masking import require
from ffattn.ops import Pooled


class Reduces(ABC):
    """What a state asks of a layer.

    Attributes:
        normalizer: What makes weights of scores.
        length_scale: Whether scores are multiplied by the logarithm of the whole length.
    """

    normalizer: str
    length_scale: bool

    @abstractmethod
    def shift(self, device: torch.device) -> Float[Tensor, ""] | None:
        """One number for the batch, which is added to all scores."""

    @abstractmethod
    def scale(self, lengths: Int[Tensor, " batch"]) -> Float[Tensor, " batch"] | None:
        """A factor of the scores of each sequence, by its whole length."""

    @abstractmethod
    def reduce(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        shift: Float[Tensor, ""] | None,
        scale: Float[Tensor, " batch"] | None,
    ) -> tuple[Pooled, Tensor]:
        """Attention over the real steps, and raw scores (see `ffattn.ops`)."""


class AttentionState:
    """What attention over the steps seen so far adds up to; a few numbers for each sequence, however long it is.

    Pieces may be of any size and come in any order. States over different steps of the same sequences can be merged,
    so that several processes can share a sequence. Results are kept in float64. `copy.copy(state)` has seen the same
    steps, goes on by itself, and passes gradients on to the same weights.

    Example:
        state = layer.start()
        for piece in pieces:  # each (batch, any time, feature)
            state.update(piece)
        context = state.finish()

    Args:
        layer: The layer that reduces pieces.
        lengths: How many steps each whole sequence has, (batch,); needed where scores depend on it.
    """

    def __init__(self, layer: Reduces, lengths: Int[Tensor, " batch"] | None = None) -> None:
        if lengths is None and layer.length_scale and layer.normalizer == "softmax":
            raise ValueError("length_scale multiplies scores by log(length): declare the whole lengths, start(lengths)")
        self.layer = layer
        self._scale = None if lengths is None else layer.scale(lengths)
        self._shift: Tensor | None = None
        self._pooled: Pooled | None = None
        self._dtype = torch.get_default_dtype()

    def update(
        self, piece: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None = None
    ) -> "AttentionState":
        """Add a piece of each sequence.

        Args:
            piece: Some steps.
            lengths: How many steps of the piece are real, 0..time; all if not given.

        Returns:
            This state.

        Raises:
            ValueError: Shapes or types do not fit each other or what was seen before.
        """
        if lengths is None:
            lengths = torch.full(piece.shape[:1], piece.shape[1], device=piece.device)
        if self._pooled is None:  # one jitter for all pieces
            self._shift = self.layer.shift(piece.device)
            self._dtype = piece.dtype
        pooled, _ = self.layer.reduce(piece, lengths, self._shift, self._scale)
        self._add(pooled)
        return self

    def merge(self, other: "AttentionState") -> "AttentionState":
        """Add what another state has seen of the same sequences.

        Args:
            other: A state of the same layer; it stays as it is.

        Returns:
            This state.

        Raises:
            ValueError: The other state has another number of sequences.
        """
        if other._pooled is not None:
            self._add(other._pooled)
            self._dtype = other._dtype
        return self

    def merge_all(self, group: ProcessGroup | None = None) -> "AttentionState":
        """Add what all other processes have seen of the same sequences (see `nn.exchange`); each must call this.

        Args:
            group: The processes of torch.distributed; all of them if not given.

        Returns:
            This state, which is then the same in every process, so that it must not be merged again.

        Raises:
            ValueError: Nothing was seen here: a process without steps adds a piece with lengths of zero.
        """
        self._pooled = merge_all(self.pooled, group)
        return self

    def _add(self, new: Pooled) -> None:
        if self._pooled is not None and new.context.shape != self._pooled.context.shape:
            raise ValueError(f"a piece of {len(new.total)} sequences after one of {len(self._pooled.total)}")
        self._pooled = new.double() if self._pooled is None else self._pooled.merge(new.double())

    def __deepcopy__(self, memo: dict[int, Any]) -> "AttentionState":
        """A copy with a layer of its own, to which gradients of what was seen cannot pass."""
        if self._pooled is not None and self._pooled.context.requires_grad:
            raise ValueError("a state with gradients has no deep copy: use copy.copy, or update under torch.no_grad")
        copied = copy.copy(self)
        memo[id(self)] = copied
        copied.__dict__ |= copy.deepcopy(self.__dict__, memo)
        return copied

    @property
    def pooled(self) -> Pooled:
        """Attention over all steps seen so far, in float64.

        Raises:
            ValueError: Nothing was seen.
        """
        if self._pooled is None:
            raise ValueError("nothing was seen: call update first")
        return self._pooled

    def finish(self) -> Float[Tensor, "batch hidden"]:
        """The context: the weighted mean over all steps seen so far. More pieces may follow.

        Raises:
            ValueError: Nothing was seen, or nothing of one of the sequences.
        """
        pooled = self.pooled
        if self.layer.normalizer != "relu2":  # whose weights may all be zero
            require(pooled.total != 0, "a sequence without steps has no context")
        return pooled.context.to(self._dtype)
