"""`init_from`: weights start from what they meant, or it is said what they stand for now."""

import pandas as pd
import pytest
import torch

from ffattn.config.errors import ConfigError
from ffattn.config.schema import Train, Trainer
from ffattn.inference.checkpoint import FORMAT, build_network
from ffattn.inference.checkpoint_files import KEY
from ffattn.models import FFAttention
from ffattn.optim import Adam
from ffattn.runs.starting_weights import check_init_from
from ffattn.settings import to_plain
from ffattn.tasks import Add, File, Multiply, Xor

MODEL = FFAttention(hidden=4)


@pytest.fixture
def file(tmp_path):
    """A maker of tasks on a file of its own, with some columns renamed and values replaced."""

    def make(target="y", values=None, names=None, **options):
        frame = pd.DataFrame({"id": [i // 2 for i in range(24)], "x": range(24), "z": [i % 5 for i in range(24)]})
        frame["kind"] = [("red", "blue")[i % 2] for i in range(24)]
        frame["y"] = frame.id * 1.5
        frame["more"] = frame.id * 2.5
        frame["grade"] = [("low", "high", "top")[i % 3] for i in frame.id]
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        frame.replace(values or {}).rename(columns=names or {}).to_csv(path, index=False)
        return File(path=str(path), target=target, id="id", **{"features": ["x", "z", "kind"]} | options)

    return make


def check(tmp_path, before, now):
    weights = {f"network.{name}": value for name, value in build_network(MODEL, before).state_dict().items()}
    settings = {"task": to_plain(before), "model": to_plain(MODEL), "seed": 0}
    about = {"format": FORMAT, "settings": settings, "update": 1, "data": before.state()}
    torch.save({KEY: about, "state_dict": weights}, path := tmp_path / "best.ckpt")
    is_file = isinstance(now, File)
    trainer = Trainer(validate_every=None, sequences=None) if is_file else Trainer()
    T = 0 if is_file else now.length.T
    return check_init_from(Train(now, MODEL, Adam(), trainer, T=T, init_from=str(path)))


@pytest.mark.parametrize("target", ["y", "grade"])
def test_the_same_columns_and_classes_need_no_word(tmp_path, file, target):
    assert check(tmp_path, file(target), file(target)) == ""


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({}, {"features": ["z", "x", "kind"]}, "its inputs are z, x, kind; in the checkpoint they are x, z, k"),
        ({}, {"features": ["x", "kind"]}, "its inputs are x, kind; in the checkpoint they are x, z, kind"),
        ({}, {"values": {"kind": {"red": "azure"}}}, "the category values of kind are azure, blue; in .* blue, red"),
        ({"target": "grade"}, {"target": "grade", "values": {"grade": {"low": "zero"}}}, "its classes are high, top"),
        ({"target": ["y", "more"]}, {"target": ["more", "y"]}, "its targets are more, y; in the checkpoint they are y"),
        ({"target": ["y", "more"]}, {"target": "grade", "values": {"grade": {"top": "low"}}}, "its classes are high"),
    ],
    ids=["order", "a column less", "categories", "classes", "targets", "classes for targets"],
)  # fmt: skip
def test_weights_that_would_be_mixed_up_are_refused(tmp_path, file, before, now, message):
    with pytest.raises(ConfigError, match=rf"^init_from=.*best.ckpt: {message}"):
        check(tmp_path, file(**before), file(**now))


def test_new_names_are_said(tmp_path, file):
    now = file(names={"z": "wind", "y": "power"}, target="power", features=["x", "wind", "kind"])
    assert check(tmp_path, file(), now) == (
        "its inputs are x, wind, kind; in the checkpoint they are x, z, kind; "
        "its targets are power; in the checkpoint they are y"
    )


def test_made_tasks_start_from_each_other(tmp_path):
    assert check(tmp_path, Add(), Multiply()) == ""
    with pytest.raises(ConfigError, match="its classes are 0, 1; in the checkpoint they are none"):
        check(tmp_path, Add(), Xor())
