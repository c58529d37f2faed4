import math

import pytest
import torch
from helpers import spoil_padding

from ffattn.choices import CELLS
from ffattn.nn import RecurrentEncoder

LENGTHS = torch.tensor([11, 1, 6])
every_cell = pytest.mark.parametrize("cell", CELLS)


def make_x():
    return torch.randn(3, 11, 2)


@every_cell
def test_states_are_those_of_torchs_layer(cell):
    encoder, x = RecurrentEncoder(cell, 2, 5), make_x()
    torch.testing.assert_close(encoder(x), encoder.layer(x)[0])


@every_cell
@pytest.mark.parametrize("piece", [1, 4, 10, 11, 12])
def test_pieces_of_time_give_the_same_states_and_gradients(cell, piece, monkeypatch):
    encoder, x = RecurrentEncoder(cell, 2, 5).double(), make_x().double().requires_grad_()
    inputs = [x, *encoder.parameters()]
    whole = encoder(x, LENGTHS)
    monkeypatch.setattr("ffattn.nn.recurrent._PIECE", piece)
    pieces = encoder(x, LENGTHS)
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(*(torch.autograd.grad(states.square().sum(), inputs) for states in (pieces, whole)))


@every_cell
def test_real_states_do_not_depend_on_what_follows(cell):
    encoder, x = RecurrentEncoder(cell, 2, 5), make_x()
    states = encoder(spoil_padding(x, LENGTHS), LENGTHS)
    assert states.isfinite().all()
    for row, length, encoded in zip(x, LENGTHS.tolist(), states, strict=True):
        torch.testing.assert_close(encoded[:length], encoder(row[None, :length])[0])


@pytest.mark.parametrize("length", [0, 12])
def test_an_impossible_length_is_refused(length):
    with pytest.raises(ValueError, match=r"1\.\.11"):
        RecurrentEncoder("lstm", 2, 5)(make_x(), torch.tensor([3, length, 3]))


def test_an_unknown_cell_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="cell=qrnn: must be one of lstm, gru, rnn"):
        RecurrentEncoder("qrnn", 2, 5)


def test_an_open_forget_gate_keeps_the_cell():
    """Without input and with no other weights the cell falls by sigmoid(forget_bias) a step."""
    encoder = RecurrentEncoder("lstm", 1, 1, forget_bias=3.0)
    with torch.no_grad():
        for name, parameter in encoder.layer.named_parameters():
            if "weight" in name:
                parameter.zero_()
        encoder.layer.bias_ih_l0[torch.tensor([0, 2, 3])] = 0.0
        encoder.layer.bias_hh_l0.zero_()
        assert encoder.layer.bias_ih_l0[1].item() == pytest.approx(3, abs=1)  # torch's own is on -1..1
        encoder.layer.bias_ih_l0[1] = 3.0
        _, (_, cell) = encoder.layer(torch.zeros(1, 4, 1), (torch.zeros(1, 1, 1), torch.ones(1, 1, 1)))
    assert cell.item() == pytest.approx((1 / (1 + math.exp(-3))) ** 4, rel=1e-6)


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_only_an_lstm_has_forget_gates(cell):
    with pytest.raises(ValueError, match=rf"forget_bias=1.0: cell={cell} has no forget gates"):
        RecurrentEncoder(cell, 2, 5, forget_bias=1.0)
