"""The paper's model, with attention and with the unweighted mean."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ffattn.choices import BIAS_INITS, INITS, MEAN, POSITIONS, QUERY_INITS, RELU2, SCORES, SOFTMAX
from ffattn.models.base import Model, Sizes
from ffattn.settings import setting

if TYPE_CHECKING:
    from ffattn.models.networks.feed_forward import FeedForwardNetwork


@dataclass
class _FeedForward(Model):
    """What both models share.

    Attributes:
        hidden: Number of hidden units, D.
        slope: Slope of the leaky ReLU for negative inputs.
        position: Features appended to the input: `none`, `fraction` (t / length) or `sinusoid`.
        init: Weight initialisation: `paper` (N(0, 1/sqrt(fan_in))) or `he` (the authors' code).
        bias_init: Biases of the embedding: `zero` (the paper's), or `uniform` on +-1/sqrt(num_features), from which
            short problems are learned sooner (docs/training.md). All other biases start at zero.
    """

    hidden: int = setting(100, low=1)
    slope: float = setting(0.01, low=0, high=1)
    position: str = setting("none", choices=POSITIONS)
    init: str = setting("paper", choices=INITS)
    bias_init: str = setting("zero", choices=BIAS_INITS)

    def _network(self, sizes: Sizes, **pooling: Any) -> "FeedForwardNetwork":
        from ffattn.models.networks.feed_forward import FeedForwardNetwork
        from ffattn.nn import FeedForwardAttention, PositionFeatures

        position = PositionFeatures(self.position)
        features = sizes.num_features + position.num_features
        attention = FeedForwardAttention(
            features, self.hidden, slope=self.slope, init=self.init, bias_init=self.bias_init, **pooling
        )
        return FeedForwardNetwork(position, attention, sizes, self.init)


@dataclass
class Mean(_FeedForward):
    """The paper's baseline: the same network with the unweighted mean over time (settings as in `FFAttention`).

    Source:
        Raffel & Ellis, section 2.2, "unweighted".
    """

    def build(self, sizes: Sizes) -> "FeedForwardNetwork":
        """Make the network (see `Model.build`)."""
        return self._network(sizes, normalizer=MEAN)


@dataclass
class FFAttention(_FeedForward):
    """The paper's model: feed-forward attention. The defaults are the paper's.

    Attributes:
        hidden, slope, position, init, bias_init: As in the unweighted model.
        score: `tanh` (the paper's: scores on (-1, 1)) or `linear`.
        normalizer: `softmax` (the paper's) or `relu2`, squared ReLU divided by its sum, whose weights can be zero.
        length_scale: Multiply scores by the logarithm of the sequence's own length (softmax only).
        score_jitter: In training, one number per batch, uniform on [0, score_jitter), is added to every score.
        query_init: The vector that scores states: `normal` (the paper's), or `positive`, 0.3 times its
            absolute values, so that steps that stand out have the larger scores from the start (docs/training.md).

    Source:
        Raffel & Ellis, equations 1-4 and section 2.2.
    """

    name: ClassVar[str] = "ffattn"

    score: str = setting("tanh", choices=SCORES)
    normalizer: str = setting(SOFTMAX, choices=(SOFTMAX, RELU2))
    length_scale: bool = False
    score_jitter: float = setting(0.0, low=0)
    query_init: str = setting("normal", choices=QUERY_INITS)

    def build(self, sizes: Sizes) -> "FeedForwardNetwork":
        """Make the network (see `Model.build`)."""
        return self._network(
            sizes,
            score=self.score,
            normalizer=self.normalizer,
            length_scale=self.length_scale,
            score_jitter=self.score_jitter,
            query_init=self.query_init,
        )
