"""Layers: attention pooling for anyone's model, and the parts that this package's models are made of."""

from ffattn.nn.attention import AttentionPooling, FeedForwardAttention
from ffattn.nn.dropout import Dropout
from ffattn.nn.initialisers import init_linear
from ffattn.nn.pooling import GatedPooling, MultiHeadPooling, StatisticsPooling
from ffattn.nn.position import PositionFeatures
from ffattn.nn.recurrent import RecurrentEncoder
from ffattn.nn.state import AttentionState

__all__ = [
    "AttentionPooling",
    "AttentionState",
    "Dropout",
    "FeedForwardAttention",
    "GatedPooling",
    "MultiHeadPooling",
    "PositionFeatures",
    "RecurrentEncoder",
    "StatisticsPooling",
    "init_linear",
]
