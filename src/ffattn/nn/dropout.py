"""Dropout of the parts of a batch that several processes share."""

from torch import Tensor, nn


class Dropout(nn.Dropout):
    """`nn.Dropout` for a batch of which this process has a part: each row is treated as it is in the whole batch.

    Args:
        p: Probability with which a number is dropped.

    Attributes:
        part: Which part this process has, 0-based.
        parts: Into how many equal parts the batch is divided; all processes' generators must be in the same state.
    """

    part = 0
    parts = 1

    def forward(self, x: Tensor) -> Tensor:
        """Drop numbers in training.

        Args:
            x: This process's rows, (batch, ...).
        """
        if self.parts == 1 or not self.training:
            return super().forward(x)
        rows = len(x)
        whole = x.new_ones(self.parts * rows, *x.shape[1:])
        return x * super().forward(whole)[self.part * rows : (self.part + 1) * rows]
