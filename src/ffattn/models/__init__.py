"""The models."""

from typing import TYPE_CHECKING

from ffattn.system.lazy_modules import names_from

if TYPE_CHECKING:
    from ffattn.models.base import Model, Sizes
    from ffattn.models.feed_forward import FFAttention, Mean
    from ffattn.models.networks.base import Answer, Network
    from ffattn.models.networks.embedded import EmbeddedNetwork, build
    from ffattn.models.networks.feed_forward import FeedForwardNetwork
    from ffattn.models.networks.recurrent import LastStateNetwork, LSTMAttentionNetwork
    from ffattn.models.recurrent import LSTM, LSTMAttention

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

__getattr__, __dir__ = names_from(
    __name__,
    __all__,
    "base",
    "feed_forward",
    "recurrent",
    "networks.base",
    "networks.feed_forward",
    "networks.recurrent",
    "networks.embedded",
)
