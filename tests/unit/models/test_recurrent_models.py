import pytest
import torch

from ffattn.errors import SettingError
from ffattn.models import LSTM, LSTMAttention, Sizes

REFERENCE = Sizes(10, 1, is_classification=False)


def make_x():
    return torch.randn(64, 7, 10)


def lstm_states(layer, x):
    """Hochreiter & Schmidhuber's equations with torch's order of gates: input, forget, cell, output."""
    h = c = x.new_zeros(len(x), layer.hidden_size)
    states = []
    for step in x.unbind(1):
        gates = step @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        states.append(h)
    return torch.stack(states, dim=1)


def test_lstm_attention_is_its_formula_at_the_reference_sizes():
    network, x = LSTMAttention().build(REFERENCE).eval(), make_x()
    states = lstm_states(network.encoder.layer, x)
    expected_weights = (states.tanh() @ network.query)[..., 0].softmax(dim=1)
    context = (expected_weights[..., None] * states).sum(dim=1)
    prediction, weights, _ = network(x, torch.full((64,), 7), return_weights=True)
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=1e-6)
    torch.testing.assert_close(prediction, context @ network.output.weight.T + network.output.bias, rtol=0, atol=1e-6)


def test_a_query_of_zero_attends_to_every_real_step_alike():
    network, lengths = LSTMAttention().build(REFERENCE), torch.arange(64) % 7 + 1
    torch.nn.init.zeros_(network.query)
    weights = network(make_x(), lengths, return_weights=True).weights
    expected = (torch.arange(7) < lengths[:, None]) / lengths[:, None]
    torch.testing.assert_close(weights, expected)


def test_the_query_starts_uniform_from_zero_to_one():
    query = LSTMAttention(hidden=2000).build(REFERENCE).query
    assert query.shape == (2000, 1)
    assert 0 <= query.min() < 0.01
    assert 0.99 < query.max() < 1
    assert query.mean().item() == pytest.approx(0.5, abs=4 / (12 * 2000) ** 0.5)


def test_dropout_is_on_the_context_and_in_training_only():
    """With one component and a head that passes it on, the answer is that component, dropped or doubled."""
    network, x = LSTMAttention(hidden=1, dropout=0.5).build(REFERENCE).double(), make_x().double()
    lengths = torch.full((64,), 7)
    torch.nn.init.ones_(network.output.weight)
    torch.nn.init.zeros_(network.output.bias)
    kept = network.train()(x, lengths).prediction / network.eval()(x, lengths).prediction
    assert sorted(kept.round(decimals=4).unique().tolist()) == [0, 2]


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_an_impossible_dropout_is_refused(dropout):
    with pytest.raises(SettingError, match="dropout"):
        LSTMAttention(dropout=dropout)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_baseline_answers_from_each_sequences_last_real_state(cell):
    network, x, lengths = LSTM(cell=cell).build(REFERENCE), make_x(), torch.arange(64) % 7 + 1
    last = torch.stack([network.encoder.layer(row[None, :n])[0][0, -1] for row, n in zip(x, lengths, strict=True)])
    torch.testing.assert_close(network(x, lengths).prediction, network.output(last))


@pytest.mark.parametrize("model", [LSTM, LSTMAttention])
def test_forget_gates_start_as_open_as_asked(model):
    closed, opened = (layer_of(model(hidden=3, forget_bias=bias)) for bias in (0.0, 4.0))
    difference = opened.bias_ih_l0 - closed.bias_ih_l0
    torch.testing.assert_close(difference, torch.tensor([0.0] * 3 + [4.0] * 3 + [0.0] * 6))
    assert torch.equal(opened.weight_ih_l0, closed.weight_ih_l0)


def layer_of(model):
    torch.manual_seed(0)
    return model.build(REFERENCE).encoder.layer


def test_other_cells_have_no_forget_gates():
    with pytest.raises(SettingError, match=r"forget_bias=1.0: cell=gru has no forget gates; leave it out"):
        LSTM(cell="gru", forget_bias=1.0)


def test_an_unknown_cell_is_refused():
    with pytest.raises(SettingError, match="cell=qrnn: must be one of lstm, gru, rnn"):
        LSTM(cell="qrnn")
