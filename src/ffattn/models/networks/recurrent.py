"""Recurrent networks: LSTM with attention, and the last state as a baseline."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.choices import SOFTMAX, TANH_STATES
from ffattn.models.base import Sizes
from ffattn.models.networks.base import Answer, Network
from ffattn.nn import Dropout, RecurrentEncoder
from ffattn.ops import attention_pooling
from ffattn.ops.reference import divisor, unnormalised_weights, valid_steps


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
