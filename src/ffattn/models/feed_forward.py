"""The paper's network, with attention and with the unweighted mean."""

from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import leaky_relu

from ffattn.models.base import Answer, Model, Network, Sizes
from ffattn.nn import FeedForwardAttention, PositionFeatures, init_linear
from ffattn.nn.initialisers import BIAS_INITS, INITS, QUERY_INITS
from ffattn.nn.position import POSITIONS
from ffattn.ops.reference import MEAN, RELU2, SCORES, SOFTMAX
from ffattn.settings import setting


class FeedForwardNetwork(Network):
    """Embed, pool over time, one hidden layer, output.

    c = FeedForwardAttention(x); s = LReLU(W_cs c + b_cs); y = LReLU(W_sy s + b_sy), or W_sy s + b_sy for logits
    and for standardized targets.

    Args:
        position: Position features of the input.
        attention: The pooling layer.
        sizes: The task's sizes.
        init: `paper` or `he`.

    Source:
        Raffel & Ellis, section 2.2.
    """

    def __init__(self, position: PositionFeatures, attention: FeedForwardAttention, sizes: Sizes, init: str) -> None:
        super().__init__()
        hidden = attention.embed.out_features
        self.position = position
        self.attention = attention
        self.hidden = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, sizes.num_outputs)
        self.is_linear = sizes.is_classification or sizes.is_standardized
        for layer in (self.hidden, self.output):
            init_linear(layer, init)

    def forward(
        self,
        x: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"],
        return_weights: bool = False,
    ) -> Answer:
        """Answer for each sequence (see `Network.forward`)."""
        x = self.position(x, lengths)
        if not return_weights:
            return Answer(self.answer(self.attention(x, lengths)))
        context, weights, scores = self.attention.forward_with_weights(x, lengths)
        return Answer(self.answer(context), weights, scores)

    def answer(self, context: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch output"]:
        """Return the prediction that follows from a context."""
        slope = self.attention.slope
        prediction = self.output(leaky_relu(self.hidden(context), slope))
        return prediction if self.is_linear else leaky_relu(prediction, slope)

    def start(self, lengths: Int[Tensor, " batch"] | None = None) -> "AnswerState":
        """Return a state that takes sequences in pieces, in constant memory.

        Args:
            lengths: How many steps each whole sequence has; needed for `length_scale` and `position=fraction` only.

        Returns:
            A state that has seen nothing.

        Raises:
            ValueError: Lengths are needed and not given.
        """
        return AnswerState(self, lengths)


class AnswerState:
    """A network's answer to sequences that come in pieces of any size; see `nn.AttentionState`.

    Args:
        network: The network.
        lengths: How many steps each whole sequence has, (batch,), where needed.
    """

    def __init__(self, network: FeedForwardNetwork, lengths: Int[Tensor, " batch"] | None = None) -> None:
        self.network = network
        self.lengths = lengths
        self.next = 0
        self.attention = network.attention.start(lengths)

    def __copy__(self) -> "AnswerState":
        """Another state that has seen the same, and goes on by itself."""
        copied = AnswerState(self.network, self.lengths)
        copied.next = self.next
        copied.attention = copy(self.attention)
        return copied

    def update(
        self,
        piece: Float[Tensor, "batch time feature"],
        lengths: Int[Tensor, " batch"] | None = None,
        start: int | None = None,
    ) -> "AnswerState":
        """Add a piece of each sequence.

        Args:
            piece: Some steps.
            lengths: How many steps of the piece are real, 0..time; all if not given.
            start: Number of the piece's first step, which position features need; the step after the last piece's if
                not given.

        Returns:
            This state.

        Raises:
            ValueError: Shapes do not fit, or `position=fraction` lacks the whole lengths.
        """
        start = self.next if start is None else start
        self.attention.update(self.network.position(piece, self.lengths, start), lengths)
        self.next = start + piece.shape[1]
        return self

    def merge(self, other: "AnswerState") -> "AnswerState":
        """Add what another state of the same network has seen of the same sequences; returns this state."""
        self.attention.merge(other.attention)
        return self

    def merge_all(self, group: ProcessGroup | None = None) -> "AnswerState":
        """Add what all other processes have seen (see `nn.AttentionState`); returns this state."""
        self.attention.merge_all(group)
        return self

    def finish(self) -> Float[Tensor, "batch output"]:
        """Return the prediction from all steps seen so far; raises ValueError if a sequence had none."""
        return self.network.answer(self.attention.finish())


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

    def _network(self, sizes: Sizes, **pooling: Any) -> FeedForwardNetwork:
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

    def build(self, sizes: Sizes) -> FeedForwardNetwork:
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

    def build(self, sizes: Sizes) -> FeedForwardNetwork:
        """Make the network (see `Model.build`)."""
        return self._network(
            sizes,
            score=self.score,
            normalizer=self.normalizer,
            length_scale=self.length_scale,
            score_jitter=self.score_jitter,
            query_init=self.query_init,
        )
