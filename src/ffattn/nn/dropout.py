"""Dropout of the parts of a batch that several processes share."""

from jaxtyping import Float
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` for a batch of which this process has a part: each row is treated as it is in the whole batch.

    Args:
        p: Probability with which a number is dropped.

    Attributes:
        part: Which part this process has, 0-based.
        parts: Into how many equal parts the batch is divided; all processes' generators must be in the same state.
    """

    part, parts = 0, 1

    def forward(self, input: Float[Tensor, "batch *feature"]) -> Float[Tensor, "batch *feature"]:
        """Drop numbers in training.

        Args:
            input: This process's rows.
        """
        if self.parts == 1 or not self.training:
            return super().forward(input)
        rows = len(input)
        whole = input.new_ones(self.parts * rows, *input.shape[1:])
        return input * super().forward(whole)[self.part * rows : (self.part + 1) * rows]
