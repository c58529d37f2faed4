"""The paper's network, with any of its ways to pool."""

from copy import copy

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn.functional import leaky_relu

from ffattn.models.base import Sizes
from ffattn.models.networks.base import Answer, Network
from ffattn.nn import FeedForwardAttention, PositionFeatures, init_linear


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
