"""Recurrent networks: LSTM with attention, and the last state as a baseline."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.errors import SettingError
from ffattn.models.base import Answer, Model, Network, Sizes
from ffattn.nn import Dropout, RecurrentEncoder
from ffattn.nn.recurrent import CELLS
from ffattn.ops import attention_pooling
from ffattn.ops.reference import SOFTMAX, TANH_STATES, divisor, unnormalised_weights, valid_steps
from ffattn.settings import setting


class LSTMAttentionNetwork(Network):
    """y = W dropout(sum_t a_t h_t) + b with h = LSTM(x) and a = softmax(tanh(h) . q) over the real steps.

    Here the tanh is on the states, inside the dot product; in the paper's network it is on the score.

    Args:
        sizes: The task's sizes.
        hidden: Size of the LSTM's states.
        dropout: Probability with which a component of the context is dropped in training.
        forget_bias: Of the forget gates at the start (see `RecurrentEncoder`).
    """

    no_bias: Tensor

    def __init__(self, sizes: Sizes, hidden: int, dropout: float, forget_bias: float = 0.0) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder("lstm", sizes.num_features, hidden, forget_bias)
        self.query = nn.Parameter(torch.rand(hidden, 1))
        self.register_buffer("no_bias", torch.zeros(1), persistent=False)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(hidden, sizes.num_outputs)

    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        return_weights: bool = False,
    ) -> Answer:
        """Answer for each sequence (see `Network.forward`)."""
        states = self.encoder(x, lengths)
        pooled, scores = attention_pooling(states, lengths, self.query.squeeze(1), self.no_bias, score=TANH_STATES)
        prediction = self.output(self.dropout(pooled.context.to(states.dtype)))
        if not return_weights:
            return Answer(prediction)
        valid = valid_steps(lengths, x.shape[1])
        weights = unnormalised_weights(scores, valid, pooled.maximum, SOFTMAX)
        return Answer(prediction, weights / divisor(pooled.total), scores)


@dataclass
class LSTMAttention(Model):
    """One LSTM layer, attention over its outputs, dropout, and one linear layer.

    Attributes:
        hidden: Size of the LSTM's states.
        dropout: Probability with which a component of the context is dropped in training.
        forget_bias: Added to the biases of the forget gates at the start, which are half open without it.
    """

    hidden: int = setting(128, low=1)
    dropout: float = setting(0.5, low=0, below=1)
    forget_bias: float = setting(0.0, low=0)

    def build(self, sizes: Sizes) -> LSTMAttentionNetwork:
        """Make the network (see `Model.build`)."""
        return LSTMAttentionNetwork(sizes, self.hidden, self.dropout, self.forget_bias)


class LastStateNetwork(Network):
    """y = W h_last + b, with the recurrent layer's state at each sequence's last real step.

    Args:
        sizes: The task's sizes.
        cell: `lstm`, `gru` or `rnn`.
        hidden: Size of the states.
        forget_bias: Of an LSTM's forget gates at the start (see `RecurrentEncoder`).
    """

    def __init__(self, sizes: Sizes, cell: str, hidden: int, forget_bias: float = 0.0) -> None:
        super().__init__()
        self.encoder = RecurrentEncoder(cell, sizes.num_features, hidden, forget_bias)
        self.output = nn.Linear(hidden, sizes.num_outputs)

    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        return_weights: bool = False,
    ) -> Answer:
        """Answer for each sequence (see `Network.forward`); there are no weights."""
        states = self.encoder(x, lengths)
        last = states[torch.arange(len(x), device=x.device), lengths - 1]
        return Answer(self.output(last))


@dataclass
class LSTM(Model):
    """A recurrent baseline without attention: the last real state and a linear head.

    Attributes:
        cell: `lstm`, `gru` or `rnn` (tanh).
        hidden: Size of the states.
        forget_bias: Added to the biases of an LSTM's forget gates at the start, which are half open without it:
            2^-T is left of what was seen T steps ago, and little is learned where T is large. About log(T) keeps it.
    """

    cell: str = setting("lstm", choices=tuple(CELLS))
    hidden: int = setting(100, low=1)
    forget_bias: float = setting(0.0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.forget_bias and self.cell != "lstm":
            raise SettingError("forget_bias", self.forget_bias, f"cell={self.cell} has no forget gates; leave it out")

    def build(self, sizes: Sizes) -> LastStateNetwork:
        """Make the network (see `Model.build`)."""
        return LastStateNetwork(sizes, self.cell, self.hidden, self.forget_bias)
