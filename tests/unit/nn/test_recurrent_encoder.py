import pytest
import torch
from helpers import spoil_padding

from ffattn.nn import RecurrentEncoder
from ffattn.nn.recurrent import CELLS

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
