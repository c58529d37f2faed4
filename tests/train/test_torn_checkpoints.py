"""Whatever happens to the files of a run, it goes on from what is whole, or says in one line that nothing is."""

import random

import pytest
import torch
from tiny_runs import about, assert_same_run, equal, fit, fit_until_killed, read

import ffattn.inference.checkpoint
from ffattn.config.errors import ConfigError, DamagedError
from ffattn.errors import CheckpointError, TrainingError
from ffattn.lightning.checkpoint_io import AtomicCheckpointIO

OPTIONS = {"updates": 7, "trainer__validate_every": 2}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("straight") / "run", **OPTIONS)


@pytest.fixture
def killed(tmp_path):
    """A run that was killed after two validations: last.ckpt of update 4, previous.ckpt of update 2."""
    fit_until_killed(tmp_path / "run", 6, **OPTIONS)
    return tmp_path / "run"


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path):
    path.write_bytes(b"")


def alter(path):
    """One bit of a weight: a file that torch.load takes for a good one."""
    contents = bytearray(path.read_bytes())
    weight = next(iter(torch.load(path, weights_only=True)["state_dict"].values()))
    at = contents.find(weight.numpy().tobytes())
    assert at > 0
    contents[at] ^= 1
    path.write_bytes(contents)
    torch.load(path, weights_only=True)


def lose(path):
    path.unlink()


@pytest.mark.parametrize("damage", [cut_off, empty, alter, lose])
def test_the_checkpoint_before_a_damaged_one_is_used(killed, straight, capsys, damage):
    folder = killed / "checkpoints"
    assert (about(killed)["update"], about(killed, "previous")["update"]) == (4, 2)
    damage(folder / "last.ckpt")
    assert_same_run(fit(killed, resume="last", **OPTIONS), straight)
    said = f"{folder / 'last.ckpt'}: not a checkpoint, or a damaged one; going on from previous.ckpt, the one before it"
    assert capsys.readouterr().err == ("" if damage is lose else f"{said}\n")


def test_where_both_are_damaged_it_is_one_line(killed):
    for name in ("last", "previous"):
        alter(killed / "checkpoints" / f"{name}.ckpt")
    with pytest.raises(DamagedError, match=r"^\S+previous\.ckpt: not a checkpoint, or a damaged one; remove \S+, and"):
        fit(killed, resume="last", **OPTIONS)


def test_a_run_that_lost_its_last_checkpoint_is_not_taken_for_a_fresh_one(killed):
    lose(killed / "checkpoints" / "last.ckpt")
    with pytest.raises(ConfigError, match="holds a run already"):
        fit(killed, **OPTIONS)


@pytest.mark.parametrize("renamed", [0, 1, 2])
def test_a_run_killed_between_any_two_steps_of_writing_goes_on(tmp_path, straight, monkeypatch, renamed):
    """Before the first rename, between the two, and after both."""
    replace = type(tmp_path).replace
    calls = []

    def die_at_last(path, target):
        if target.parent.name == "checkpoints" and target.name in {"last.ckpt", "previous.ckpt"}:
            calls.append(target.name)
            if len(calls) == 4 + renamed:  # the third checkpoint: previous.ckpt, then last.ckpt
                raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "replace", die_at_last)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            fit(tmp_path / "run", **OPTIONS)
    assert_same_run(fit(tmp_path / "run", resume="last", **OPTIONS), straight)


def test_no_altered_bit_is_read(killed, tmp_path):
    """Every one of some hundred: it is refused, or means nothing."""
    good = read(killed)
    data = (killed / "checkpoints" / "last.ckpt").read_bytes()
    numbers = random.Random(0)
    path = tmp_path / "altered.ckpt"
    refused = []
    for _ in range(300):
        altered = bytearray(data)
        altered[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        path.write_bytes(altered)
        try:
            assert equal(ffattn.inference.checkpoint.read(path), good)
        except CheckpointError as error:
            refused.append(str(error))
    assert len(refused) > 150  # the others lie in the gaps by which tensors are aligned
    assert {line.partition(": ")[0] for line in refused} == {str(path)}
    assert "\n" not in "".join(refused)


def test_a_tensor_that_is_called_a_folder_is_refused(killed):
    """For which torch would return whatever memory holds; the checksum is that of the tensor."""
    path = killed / "checkpoints" / "last.ckpt"
    data = bytearray(path.read_bytes())
    attributes = data.rindex(b"archive/data/", 0, data.rindex(b"archive/data/")) - 46 + 38
    data[attributes] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not a checkpoint, or a damaged one"):
        ffattn.inference.checkpoint.read(path)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0")], ids=repr
)
def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, error):
    path = tmp_path / "last.ckpt"
    saver = AtomicCheckpointIO()
    saver.save_checkpoint({"update": 1}, path)

    def fail(contents, file):
        file.write(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", fail)
        with pytest.raises(
            TrainingError,
            match=r"^\S+last\.ckpt: cannot be written: (No space|RuntimeError: unexpected pos)[^\n]*whole$",
        ):
            saver.save_checkpoint({"update": 2}, path)
    assert {file.name for file in tmp_path.iterdir()} == {"last.ckpt"}
    assert torch.load(path, weights_only=True) == {"update": 1}
