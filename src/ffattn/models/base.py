"""What a model is: settings that build a network for a task's sizes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.settings import Settings


class Sizes(NamedTuple):
    """What a task tells a model.

    Attributes:
        num_features: Size of the input's feature axis.
        num_outputs: Regression outputs, or classes.
        is_classification: Whether outputs are logits.
        is_standardized: Whether regression targets have mean zero, so that an output must reach negative numbers.
        categories: How many different numbers each of the last features may have, where those are categories.
        embedding: How many numbers each of them is embedded into.
    """

    num_features: int
    num_outputs: int
    is_classification: bool
    is_standardized: bool = False
    categories: tuple[int, ...] = ()
    embedding: int = 0


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


@dataclass
class Model(Settings, ABC):
    """Base of all models: a dataclass of settings. A new model implements `build`."""

    @abstractmethod
    def build(self, sizes: Sizes) -> Network:
        """Make the network, with weights from torch's global generator.

        Args:
            sizes: The task's features and outputs; a classification network has no activation on its output.
        """
