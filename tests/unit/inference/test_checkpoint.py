import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ffattn.errors import CheckpointError, SettingError
from ffattn.inference.checkpoint import FORMAT, load_weights, read, sizes_of
from ffattn.inference.checkpoint_files import KEY
from ffattn.inference.trained import TrainedModel, load
from ffattn.models import LSTM, FFAttention, Mean, Sizes
from ffattn.settings import to_plain
from ffattn.tasks import Add, TemporalOrder3


def contents_of(model, task, **about):
    """What training would save."""
    network = model.build(sizes_of(task))
    settings = {"task": to_plain(task), "model": to_plain(model), "seed": 5}
    return {
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()},
        KEY: {"format": FORMAT, "settings": settings, "update": 7} | about,
    }


@pytest.fixture
def contents():
    return contents_of(FFAttention(hidden=4), Add())


@pytest.fixture
def checkpoint(tmp_path, contents):
    path = tmp_path / "some.ckpt"
    torch.save(contents, path)
    return path


def write_text(path):
    path.write_text("lr: 0.003\n")


def write_nothing(path):
    path.write_bytes(b"")


def write_zip(path):
    path.write_bytes(b"PK\x03\x04 and so on")


def write_half(path):
    torch.save(contents_of(FFAttention(), Add()), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_weights_only(path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), path)


def write_tensor(path):
    torch.save(torch.zeros(3), path)


def write_other_key(path):
    torch.save({KEY: "format 1"}, path)


def write_without_format(path):
    torch.save({KEY: {"settings": {}}}, path)


def make_folder(path):
    path.mkdir()


def leave_out(path):
    """There is no file."""


@pytest.mark.parametrize(
    "make",
    [
        leave_out,
        make_folder,
        write_nothing,
        write_text,
        write_zip,
        write_half,
        write_weights_only,
        write_tensor,
        write_other_key,
        write_without_format,
    ],
)
@pytest.mark.parametrize("reader", [read, load])
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, reader, make):
    path = tmp_path / "some.ckpt"
    make(path)
    with pytest.raises(CheckpointError) as caught:
        reader(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [0, FORMAT + 1, "1"])
def test_another_format_is_refused_and_named(tmp_path, contents, number):
    contents[KEY]["format"] = number
    torch.save(contents, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=rf"has format {number}, .* reads formats 1 and {FORMAT}$"):
        read(tmp_path / "other.ckpt")


class Hostile:
    """An object whose unpickling would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: Path(path).write_bytes(pickle.dumps(thing))])
def test_code_in_a_file_is_not_run(tmp_path, contents, save):
    contents["extra"] = Hostile(tmp_path / "trace")
    save(contents, tmp_path / "hostile.ckpt")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        read(tmp_path / "hostile.ckpt")
    assert not (tmp_path / "trace").exists()


def test_a_class_from_outside_is_refused_unless_its_package_is_trusted(tmp_path, contents):
    contents[KEY]["settings"]["task"]["_target_"] = "antigravity.Task"
    torch.save(contents, tmp_path / "stranger.ckpt")
    with pytest.raises(SettingError, match=r"antigravity\.Task.*trust=<package>"):
        load(tmp_path / "stranger.ckpt")


def test_a_checkpoint_gives_back_network_task_and_settings(checkpoint, contents):
    trained = load(checkpoint)
    assert (trained.task, trained.model, trained.seed, trained.update) == (Add(), FFAttention(hidden=4), 5, 7)
    for name, value in trained.network.state_dict().items():
        assert torch.equal(value, contents["state_dict"][f"network.{name}"])


def test_a_loaded_network_is_ready_to_predict(checkpoint):
    network = load(checkpoint).network
    assert not network.training
    assert {parameter.device.type for parameter in network.parameters()} == {"cpu"}


def test_loading_does_not_touch_torchs_random_numbers(checkpoint):
    before = torch.get_rng_state()
    load(checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "task"),
    [(FFAttention(hidden=5), Add()), (FFAttention(hidden=4), TemporalOrder3()), (Mean(hidden=4), Add())],
    ids=["size", "task", "model"],
)
def test_weights_of_another_network_are_refused_in_one_line(contents, model, task):
    network = model.build(sizes_of(task))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"^some\.ckpt: the weights are those of another model: ") as caught:
        load_weights(network, contents, "some.ckpt")
    assert "\n" not in str(caught.value)
    assert before.keys() == network.state_dict().keys()


def test_sizes_are_the_tasks():
    assert sizes_of(Add()) == Sizes(2, 1, is_classification=False)
    assert sizes_of(TemporalOrder3()) == Sizes(8, 8, is_classification=True)


@pytest.fixture(params=[LSTM(hidden=2), FFAttention(hidden=4)], ids=lambda model: model.name)
def trained(request):
    return TrainedModel(request.param.build(sizes_of(Add())).eval(), Add(), request.param, seed=0, update=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sequences": 0}, "sequences=0: must be a whole number, at least 1"),
        ({"sequences": 10.5}, "sequences=10.5: must be a whole number, at least 1"),
        ({"sequences": "10"}, "sequences=10: must be a whole number, at least 1"),
        ({"split": "train"}, "split=train: must be one of val, test"),
        ({"T": 20.5}, "T=20.5: must be a whole number"),
        ({"T": "20"}, "T=20: must be a whole number"),
        ({"T": True}, "T=True: must be a whole number"),
        ({"T": 0}, "T=0: must be at least 1"),
        ({"T": 3}, "length.T=3: must be at least"),
        ({"T": None, "length": "paper"}, "length=paper: must be the settings of a Length"),
        ({"T": None, "length": 20}, "length=20: must be the settings of a Length"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("without_shape_checks")
def test_an_evaluation_that_makes_no_sense_is_refused_in_one_line(trained, wrong, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        trained.evaluate(**{"T": 11, **wrong})
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("without_shape_checks")
def test_numbers_of_numpy_and_torch_are_numbers(trained):
    expected = trained.evaluate(T=20, sequences=5)
    for number in (np.int64(20), np.int32(20), torch.tensor(20)):
        assert trained.evaluate(T=number, sequences=5) == expected


X = torch.rand(3, 7, 2)
LENGTHS = [7, 2, 4]


@pytest.mark.parametrize(
    "x",
    [X, X.double(), X.numpy(), X.double().numpy(), X.tolist(), X.numpy().astype("float16")],
    ids=lambda x: str(type(x)),
)
def test_predictions_take_arrays_of_any_kind(trained, x):
    near = {"rtol": 1e-2, "atol": 1e-3} if isinstance(x, np.ndarray) and x.dtype == np.float16 else {}
    for lengths in (torch.tensor(LENGTHS), np.array(LENGTHS), LENGTHS, np.array(LENGTHS, "int32"), None):
        expected = trained.network(X, torch.tensor([7] * 3 if lengths is None else LENGTHS)).prediction
        torch.testing.assert_close(trained.predict(x, lengths), expected.detach(), **near)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((3, 7, 5)),), "x is torch.float64 (3, 7, 5); must be real numbers, (batch, time, 2)"),
        ((torch.zeros(7, 2),), "x is torch.float32 (7, 2); must be real numbers, (batch, time, 2)"),
        ((torch.zeros(3, 7, 2, dtype=torch.complex64),), "x is torch.complex64 (3, 7, 2); must be real numbers"),
        ((torch.zeros(3, 0, 2),), "a sequence without steps has no context"),
        (("abc",), "x: no array of numbers: "),
        ((np.array(["a", "b"]),), "x: no array of numbers: "),
        (([[1.0, 2.0], [3.0]],), "x: no array of numbers: "),
        ((None,), "x: no array of numbers: "),
        ((X, np.array([7.0, 2.0, 4.0])), "lengths are torch.float64; must be integers"),
        ((X, [True, True, True]), "lengths are torch.bool; must be integers"),
        ((X, [7, 2]), "lengths has shape (2,); must be (3,)"),
        ((X, [7, 2, 8]), "lengths must be on 1..7, the number of steps"),
        ((X, [7, 2, 0]), "lengths must be on 1..7, the number of steps"),
        ((X, "7"), "lengths: no array of numbers: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_predicted_is_refused_in_one_line(trained, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        trained.predict(*arguments)
    assert "\n" not in str(caught.value)
