"""Recurrent models: LSTM with attention, and the last state as a baseline."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ffattn.choices import CELLS
from ffattn.errors import SettingError
from ffattn.models.base import Model, Sizes
from ffattn.settings import setting

if TYPE_CHECKING:
    from ffattn.models.networks.recurrent import LastStateNetwork, LSTMAttentionNetwork


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

    def build(self, sizes: Sizes) -> "LSTMAttentionNetwork":
        """Make the network (see `Model.build`)."""
        from ffattn.models.networks.recurrent import LSTMAttentionNetwork

        return LSTMAttentionNetwork(sizes, self.hidden, self.dropout, self.forget_bias)


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

    def build(self, sizes: Sizes) -> "LastStateNetwork":
        """Make the network (see `Model.build`)."""
        from ffattn.models.networks.recurrent import LastStateNetwork

        return LastStateNetwork(sizes, self.cell, self.hidden, self.forget_bias)
