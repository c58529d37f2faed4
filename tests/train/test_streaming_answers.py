"""A sequence that grows is answered as the whole would be, in constant memory, and as soon as its steps come."""

import io
import json
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_runs import fit

from ffattn import stream
from ffattn.config.compose import compose_config
from ffattn.errors import DataError
from ffattn.inference.checkpoint import CheckpointError
from ffattn.inference.online import Running, answers_every, read_lines


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("run") / "run", model__normalizer="relu2").load()


STEPS = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32).astype(np.float64)


def whole(trained, count):
    return float(trained.predict(torch.from_numpy(STEPS[None, :count])))


def test_the_answer_is_that_of_the_whole_sequence(trained):
    running = Running(trained)
    for stop in (1, 2, 400, 1000):
        running.push(STEPS[running.steps : stop])
        assert running.answer()["answer"] == pytest.approx(whole(trained, stop), rel=1e-4)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_answers_come_after_every_so_many_steps_and_at_the_end(trained, size):
    pieces = ({"value": part[:, 0], "marker": part[:, 1]} for part in np.array_split(STEPS[:130], -(-130 // size)))
    found = list(answers_every(Running(trained), pieces, 50))
    assert [answer["steps"] for answer in found] == [50, 100, 130]
    assert [answer["answer"] for answer in found] == pytest.approx(
        [whole(trained, n) for n in (50, 100, 130)], rel=1e-4
    )


def test_the_last_answer_is_given_once(trained):
    found = list(answers_every(Running(trained), [{"value": STEPS[:6, 0], "marker": STEPS[:6, 1]}], 3))
    assert [answer["steps"] for answer in found] == [3, 6]


def test_what_is_kept_does_not_grow(trained):
    def kept(running):
        return sum(tensor.numel() for tensor in running.state.attention.pooled)

    running = Running(trained).push(STEPS[:1])
    before = kept(running)
    for part in np.array_split(STEPS, 20):
        running.push(part)
    assert kept(running) == before


@pytest.mark.parametrize("options", [{"model": "lstm"}, {"model": "lstm_attention"}])
def test_recurrent_networks_are_refused(tmp_path, options):
    with pytest.raises(CheckpointError, match="needs the whole sequence"):
        Running(fit(tmp_path / "run", **options).load())


@pytest.mark.parametrize("options", [{"model__length_scale": True}, {"model__position": "fraction"}])
def test_what_needs_the_length_beforehand_is_refused(tmp_path, options):
    run = fit(tmp_path / "run", **options)
    with pytest.raises(CheckpointError, match="needs the length of the sequence beforehand"):
        Running(run.load())


def test_values_that_cannot_be_used_are_named_and_not_added(trained):
    running = Running(trained).push(STEPS[:3])
    bad = STEPS[3:6].copy()
    bad[1, 0] = np.nan
    with pytest.raises(DataError, match="row 5, column value: no value"):
        running.push(bad)
    assert running.steps == 3
    assert running.answer()["answer"] == pytest.approx(whole(trained, 3), rel=1e-4)
    with pytest.raises(DataError, match=r"shape \(3, 3\); must be \(step, 2\): value, marker"):
        running.push(np.zeros((3, 3)))


def test_no_step_has_no_answer(trained):
    with pytest.raises(DataError, match="no step yet"):
        Running(trained).answer()


@pytest.mark.parametrize("size", [1, 3, 10, 1000])
def test_lines_are_read_however_they_are_cut(size):
    text = b"marker,other,value\n1,x,2.5\n-1,y,3\n0,z,-0.5"
    source = io.BytesIO(text)
    pieces = list(read_lines(lambda most: source.read(min(most, size)), ("value", "marker")))
    joined = {name: np.concatenate([piece[name] for piece in pieces]).tolist() for name in ("value", "marker")}
    assert joined == {"value": [2.5, 3, -0.5], "marker": [1, -1, 0]}


def test_lines_are_read_from_a_socket():
    receiver, sender = socket.socketpair()
    with receiver:
        with sender:
            sender.sendall(b"marker,value\n1,2.5\n-1,3\n")
        assert [piece["value"].tolist() for piece in read_lines(receiver.recv, ("value",))] == [[2.5, 3]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"value\n1\n", "Column 'marker' in include_columns does not exist"),
        (b"value,marker\n1,abc\n", "invalid value 'abc'"),
        (b"value,marker\n1,2,3\n", "Expected 2 columns, got 3"),
    ],
)
def test_lines_that_cannot_be_used_are_told(text, message):
    with pytest.raises(DataError, match=message):
        list(read_lines(io.BytesIO(text).read, ("value", "marker")))


@pytest.mark.cli
def test_the_command_answers_before_the_end(finished):
    words = [sys.executable, "-m", "ffattn.stream", f"checkpoint={finished.checkpoint}", "every=2"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write("value,marker\n0.5,0\n0.25,1\n")
        process.stdin.flush()
        first = json.loads(process.stdout.readline())  # while the input is still open
        process.stdin.write("1,1\n")
        process.stdin.close()
        rest = [json.loads(line) for line in process.stdout]
    assert [first["steps"], *(answer["steps"] for answer in rest)] == [2, 3]
    assert process.returncode == 0


class Typed:
    """A standard input that was typed before."""

    def __init__(self, text):
        self.buffer = io.BytesIO(text)


def test_the_last_answer_is_that_of_all_lines(finished, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Typed(b"value,marker\n0.5,0\n0.25,1\n1,1\n"))
    stream.run(compose_config("stream", [f"checkpoint={finished.checkpoint}", "every=2"]))
    first, last = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    whole = finished.load().predict(torch.tensor([[[0.5, 0], [0.25, 1], [1, 1]]]))
    assert (first["steps"], last["steps"]) == (2, 3)
    assert last["answer"] == pytest.approx(float(whole), rel=1e-5)


def test_an_empty_input_is_one_line(finished, monkeypatch):
    monkeypatch.setattr(sys, "stdin", Typed(b"value,marker\n"))
    with pytest.raises(DataError, match=r"^standard input: has no steps; expected lines of CSV under a header$"):
        stream.run(compose_config("stream", [f"checkpoint={finished.checkpoint}"]))
