"""Files from a stranger run no code, and reach nothing outside their own folder."""

import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

import ffattn
from ffattn import report
from ffattn.config.command import run_command
from ffattn.config.compose import compose_config
from ffattn.config.errors import ConfigError
from ffattn.errors import CheckpointError, DataError, FFAttnError, SettingError
from ffattn.files.tables import read_table
from ffattn.runs.outcomes import finish
from ffattn.train import COMMAND

SMALL = ("T=12", "updates=2", "batch_size=4", "model.hidden=4", "trainer.sequences=4", "trainer.validate_every=2")


class Hostile:
    """An object whose unpickling would leave a folder behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trace(tmp_path):
    """Where hostile code would leave its mark."""
    path = tmp_path / "trace"
    yield path
    assert not path.exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return ffattn.fit(*SMALL, accelerator="cpu", logger="none", folder=folder, quiet=True)


def save_by_torch(thing, path):
    torch.save({"ffattn": {"format": 1, "settings": {}, "update": 1}, "state_dict": {"a": thing}}, path)


def save_by_torch_of_old(thing, path):
    torch.save({"state_dict": thing}, path, _use_new_zipfile_serialization=False)


def save_by_pickle(thing, path):
    path.write_bytes(pickle.dumps(thing))


def save_in_an_archive(thing, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(thing))
        archive.writestr("archive/version", "3\n")
        archive.writestr("../../escaped", "")


SAVERS = [save_by_torch, save_by_torch_of_old, save_by_pickle, save_in_an_archive]
READERS = {
    "load": ffattn.load,
    "resume": lambda path: ffattn.fit(*SMALL, resume=path, folder=path.parent / "other", quiet=True),
    "init_from": lambda path: ffattn.fit(*SMALL, init_from=path, folder=path.parent / "other", quiet=True),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("save", SAVERS)
@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_no_code_in_a_checkpoint_is_run(tmp_path, trace, save, reader, suffix):
    path = tmp_path / f"stranger{suffix}"
    save(Hostile(trace), path)
    with pytest.raises((CheckpointError, ConfigError), match=r"^[^\n]*not a [^\n]*$"):
        reader(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name}


@pytest.mark.parametrize(
    "target", ["os.system", "ffattn.fit", "ffattn.settings.Settings", "subprocess.Popen", "", 3, None]
)
@pytest.mark.parametrize("part", ["task", "model"])
def test_a_checkpoint_makes_nothing_but_tasks_and_models(tmp_path, run, part, target):
    contents = torch.load(run.checkpoint, weights_only=True)
    contents["ffattn"]["settings"][part]["_target_"] = target
    torch.save(contents, tmp_path / "stranger.ckpt")
    with pytest.raises(SettingError, match="_target_="):
        ffattn.load(tmp_path / "stranger.ckpt")


def test_a_checkpoint_does_not_say_how_much_memory_is_taken(tmp_path, run):
    contents = torch.load(run.checkpoint, weights_only=True)
    contents["ffattn"]["settings"]["model"]["hidden"] = 10**9
    torch.save(contents, tmp_path / "stranger.ckpt")
    with pytest.raises(CheckpointError, match="the weights are those of another model"):
        ffattn.load(tmp_path / "stranger.ckpt")


def test_arrays_hold_numbers(tmp_path, trace):
    np.savez(tmp_path / "stranger.npz", x=np.array([Hostile(trace)], dtype=object), y=np.zeros(1))
    with pytest.raises(DataError, match="array x holds Python objects, which are never loaded"):
        read_table(tmp_path / "stranger.npz")


def test_an_archive_is_not_unpacked(tmp_path):
    (tmp_path / "data").mkdir()
    with zipfile.ZipFile(tmp_path / "data" / "stranger.npz", "w") as archive:
        for name in ("../escaped.npy", "/escaped.npy", "x.npy"):
            with archive.open(name, "w") as file:
                np.save(file, np.zeros((2, 3)))
    assert read_table(tmp_path / "data" / "stranger.npz").num_rows == 2
    assert [path.name for path in tmp_path.rglob("*.npy")] == []


@pytest.mark.parametrize(
    "tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "object/apply:subprocess.check_output"]
)
def test_yaml_makes_no_objects(tmp_path, trace, tag):
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "stranger.yaml").write_text(f"seed: !!python/{tag} [{trace}]\n")
    with pytest.raises((FFAttnError, HydraException, OmegaConfBaseException)):
        compose_config("train", ["experiment=stranger"], str(tmp_path / "conf"))


def test_a_pickled_configuration_is_not_read(tmp_path, trace, monkeypatch, capsys):
    save_by_pickle(Hostile(trace), tmp_path / "config.pickle")
    monkeypatch.setattr(sys, "argv", ["train", f"--experimental-rerun={tmp_path / 'config.pickle'}"])
    with pytest.raises(SystemExit) as caught:
        run_command(COMMAND)
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith("--experimental-rerun: is not supported")


SCRIPT = "<script>alert(1)</script>"


def test_a_report_escapes_every_text(tmp_path, run):
    result = json.loads((run.folder / "result.json").read_text())
    for key in ("task", "model", "device", "commit"):
        result[key] = SCRIPT
    result["settings"]["task"]["_target_"] = SCRIPT
    result["command"] = [SCRIPT, "a|b"]
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "result.json").write_text(json.dumps(result))
    cells = report.cells_of(report.read_runs([tmp_path]))
    files = report.write(cells, tmp_path / "report", SCRIPT)
    pages = [path.read_text() for path in files if path.suffix == ".html"]
    assert pages
    assert all("&lt;script&gt;" in page and SCRIPT not in page for page in pages)


def test_a_sweeps_table_names_no_folder_outside(tmp_path, run, capsys):
    root = tmp_path / "sweep"
    root.mkdir()
    names = [os.path.relpath(run.folder, root), str(run.folder), "inside"]
    (root / "sweep.csv").write_text("job,state\n" + "".join(f"{name},done\n" for name in names))
    (root / "inside").mkdir()
    finish(root, {})
    lines = (root / "sweep.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["job", "inside"]
    assert capsys.readouterr().out
