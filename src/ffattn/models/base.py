"""What a model is: settings that build a network for a task's sizes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ffattn.settings import Settings

if TYPE_CHECKING:
    from ffattn.models.networks.base import Network


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


@dataclass
class Model(Settings, ABC):
    """Base of all models: a dataclass of settings. A new model implements `build`."""

    @abstractmethod
    def build(self, sizes: Sizes) -> "Network":
        """Make the network, with weights from torch's global generator.

        Args:
            sizes: The task's features and outputs; a classification network has no activation on its output.
        """
