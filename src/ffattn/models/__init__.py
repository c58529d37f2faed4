"""The models."""

from ffattn.models.base import Answer, Model, Network, Sizes
from ffattn.models.embedded import EmbeddedNetwork, build
from ffattn.models.feed_forward import FeedForwardNetwork, FFAttention, Mean
from ffattn.models.recurrent import LSTM, LastStateNetwork, LSTMAttention, LSTMAttentionNetwork

__all__ = [
    "LSTM",
    "Answer",
    "EmbeddedNetwork",
    "FFAttention",
    "FeedForwardNetwork",
    "LSTMAttention",
    "LSTMAttentionNetwork",
    "LastStateNetwork",
    "Mean",
    "Model",
    "Network",
    "Sizes",
    "build",
]
