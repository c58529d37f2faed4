"""What a network is, and what it answers."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn


class Answer(NamedTuple):
    """What a network returns.

    Attributes:
        prediction: Regression outputs or logits, (batch, output).
        weights: Attention weights, (batch, time), where asked for and where the network has them.
        scores: What the weights are made from, (batch, time), likewise; of no meaning in padding.
    """

    prediction: Float[Tensor, "batch output"]
    weights: Float[Tensor, "batch time"] | None = None
    scores: Float[Tensor, "batch time"] | None = None


class Network(nn.Module, ABC):
    """Base of the networks that models build."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        return_weights: bool = False,
    ) -> Answer:
        """Answer for each sequence.

        Args:
            x: Inputs.
            lengths: How many steps of each sequence are real. Nothing may depend on what comes after.
            return_weights: Whether to return attention weights and scores too, where the network has them.
        """
