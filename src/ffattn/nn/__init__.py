"""Layers: attention pooling for anyone's model, and the parts that this package's models are made of."""

from ffattn.nn.attention import AttentionPooling, FeedForwardAttention
from ffattn.nn.initialisers import init_linear
from ffattn.nn.position import PositionFeatures
from ffattn.nn.recurrent import RecurrentEncoder

__all__ = ["AttentionPooling", "FeedForwardAttention", "PositionFeatures", "RecurrentEncoder", "init_linear"]
