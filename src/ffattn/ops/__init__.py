"""The computations behind the layers: attention over time as fused operators, and their twin in plain PyTorch."""

from ffattn.ops.arguments import require_lengths
from ffattn.ops.operators import attention_pooling, feed_forward_attention, implementation
from ffattn.ops.pooled import Pooled
from ffattn.ops.vmap import register_vmap

register_vmap()

__all__ = ["Pooled", "attention_pooling", "feed_forward_attention", "implementation", "require_lengths"]
