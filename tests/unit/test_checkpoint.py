import os
import pickle
from pathlib import Path

import pytest
import torch

from ffattn.checkpoint import FORMAT, KEY, Trained, load, load_weights, read, sizes_of
from ffattn.errors import CheckpointError, SettingError
from ffattn.models import LSTM, FFAttention, Mean
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
    with pytest.raises(CheckpointError, match=rf"has format {number}, .* reads format {FORMAT}$"):
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
    assert sizes_of(Add()) == (2, 1, False)
    assert sizes_of(TemporalOrder3()) == (8, 8, True)


def test_an_empty_evaluation_is_refused(tmp_path):
    trained = Trained(LSTM(hidden=2).build(sizes_of(Add())), Add(), LSTM(hidden=2), seed=0, update=0)
    for wrong in ({"sequences": 0}, {"split": "train"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            trained.evaluate(T=11, **wrong)
