"""Recurrent encoders over sequences of any length."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ffattn.choices import CELLS
from ffattn.nn.masking import clear_padding, resolve_lengths
from ffattn.ops.reference import valid_steps

_LAYERS = dict(zip(CELLS, (nn.LSTM, nn.GRU, nn.RNN), strict=True))
_PIECE = 32_768  # cuDNN refuses more than 65,535 steps in one call


class RecurrentEncoder(nn.Module):
    """Run one recurrent layer over a sequence and return its state at every step.

    Args:
        cell: `lstm`, `gru` or `rnn` (tanh).
        num_features: Size of the input's feature axis.
        hidden: Size of the states.
        forget_bias: Added to the biases of an LSTM's forget gates, which start at 1/2 without it, so that what is kept
            halves with each step; log(T) keeps it for about T steps (Gers, Schmidhuber & Cummins 2000; Tallec &
            Ollivier 2018, section 2).
    """

    def __init__(self, cell: str, num_features: int, hidden: int, forget_bias: float = 0.0) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"cell={cell}: must be one of {', '.join(CELLS)}")
        if forget_bias and cell != "lstm":
            raise ValueError(f"forget_bias={forget_bias}: cell={cell} has no forget gates")
        self.layer = _LAYERS[cell](num_features, hidden, batch_first=True)
        if forget_bias:
            with torch.no_grad():
                self.layer.bias_ih_l0[hidden : 2 * hidden] += forget_bias  # gates: input, forget, cell, output

    def forward(
        self, x: Float[Tensor, "batch time feature"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch time hidden"]:
        """Encode.

        Args:
            x: Inputs.
            lengths: How many steps of each sequence are real; all if not given.

        Returns:
            States; those before a sequence's length do not depend on what comes after it.

        Raises:
            ValueError: A length is not on 1..time.
        """
        x = clear_padding(x, valid_steps(resolve_lengths(x, lengths), x.shape[1]))
        state = None
        outputs = []
        for piece in x.split(_PIECE, dim=1):
            output, state = self.layer(piece, state)
            outputs.append(output)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)
