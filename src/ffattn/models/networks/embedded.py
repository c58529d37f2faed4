"""Categories and words before any network."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.models.base import Model, Sizes
from ffattn.models.networks.base import Answer, Network


class EmbeddedNetwork(Network):
    """A network whose last features are numbers of categories, each of which is embedded first.

    Number 0 stands for what is unknown: its embedding is zero, and stays so.

    Args:
        model: Builds the network behind the embeddings.
        sizes: The task's sizes, with categories.
    """

    def __init__(self, model: Model, sizes: Sizes) -> None:
        super().__init__()
        count = len(sizes.categories)
        self.num_numbers = sizes.num_features - count
        self.embeddings = nn.ModuleList(nn.Embedding(size, sizes.embedding, padding_idx=0) for size in sizes.categories)
        features = self.num_numbers + count * sizes.embedding
        self.inner = model.build(sizes._replace(num_features=features, categories=(), embedding=0))

    def embed(self, x: Float[Tensor, "batch time feature"]) -> Float[Tensor, "batch time embedded"]:
        """Return the numbers as they are, and behind them the embeddings of the categories."""
        numbers = x[..., : self.num_numbers]
        symbols = x[..., self.num_numbers :].round().long()
        return torch.cat([numbers, *(layer(symbols[..., i]) for i, layer in enumerate(self.embeddings))], dim=-1)

    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        return_weights: bool = False,
    ) -> Answer:
        """Answer for each sequence (see `Network.forward`)."""
        answer: Answer = self.inner(self.embed(x), lengths, return_weights)
        return answer


def build(model: Model, sizes: Sizes) -> Network:
    """Build a model's network, behind embeddings where a task has categories.

    Args:
        model: The network's settings.
        sizes: The task's sizes.
    """
    return EmbeddedNetwork(model, sizes) if sizes.categories else model.build(sizes)
