"""What is needed of Hydra besides its interface: each has a guard, and leaves Hydra to others in this process."""

import sys
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from omegaconf import OmegaConf

import ffattn
from ffattn.config import hydra_access
from ffattn.config.command import read_arguments
from ffattn.config.compose import Loader
from ffattn.config.errors import ConfigError

NEEDS = f"hydra-core {hydra.__version__} has no %s: ffattn needs hydra-core 1.3 or 1.4"
SOURCES = Path(ffattn.__file__).parents[1]
FILES = [path for package in ("ffattn", "hydra_plugins/ffattn_launcher") for path in (SOURCES / package).rglob("*.py")]


def test_private_modules_of_hydra_are_imported_in_one_place():
    found = {path.name: path.read_text().count("hydra._internal") for path in FILES}
    assert {name: count for name, count in found.items() if count} == {"hydra_access.py": 1}


def test_a_hydra_whose_parser_is_elsewhere_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "hydra._internal.utils", None)
    with pytest.raises(SystemExit) as left:
        read_arguments()
    assert (left.value.code, capsys.readouterr().err) == (1, NEEDS % "get_args_parser" + "\n")


def test_a_hydra_without_a_plugin_is_one_line():
    with pytest.raises(ConfigError) as caught:
        hydra_access.builtin_plugin(Launcher, "OtherLauncher")
    assert str(caught.value) == NEEDS % "OtherLauncher"


def test_a_hydra_that_finds_its_plugins_in_another_way_is_left_to_it(monkeypatch):
    monkeypatch.delattr(Plugins, "_initialize")
    hydra_access.keep_plugins.__wrapped__()
    assert not hasattr(Plugins, "_initialize")


def composed(loader, *overrides):
    return OmegaConf.to_container(loader.compose(list(overrides)), resolve=False)


def test_a_loader_that_reads_every_time_composes_the_same(monkeypatch):
    once = Loader("train")
    monkeypatch.setattr(hydra_access, "_read_files_once", lambda loader: None)
    every_time = Loader("train")
    assert not isinstance(every_time.hydra_loader.repository, hydra_access._FilesReadOnce)
    for overrides in (["seed=1"], ["task=xor", "model=mean"], ["seed=1"]):
        assert composed(once, *overrides) == composed(every_time, *overrides)


def test_a_loader_reads_each_file_once(monkeypatch):
    loader = Loader("train")
    repository = loader.hydra_loader.repository.repository
    read = []
    load = type(repository).load_config
    monkeypatch.setattr(type(repository), "load_config", lambda self, path: read.append(path) or load(self, path))
    composed(loader, "task=xor")
    first = len(read)
    composed(loader, "task=xor", "seed=1")
    assert {"train", "task/xor"} <= set(read)
    assert first == len(read) == len(set(read))


def test_files_of_another_search_path_are_not_taken_for_these(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/mine.yaml").write_text("# @package _global_\nbatch_size: 3\n")
    loader = Loader("train")
    with pytest.raises(ConfigError, match="experiment=mine: no such choice"):
        loader.compose(["experiment=mine"])
    assert loader.compose([f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"]).batch_size == 3
    with pytest.raises(ConfigError, match="experiment=mine: no such choice"):
        loader.compose(["experiment=mine"])


def test_a_folder_of_ones_own_is_that_of_one_loader(tmp_path):
    def providers(loader):
        return [element.provider for element in loader.hydra_loader.get_search_path().get_path()]

    assert providers(Loader("train", str(tmp_path))) == ["hydra", "main", "command-line", "schema"]
    assert providers(Loader("train")) == ["hydra", "main", "schema"]


def test_an_application_of_hydra_goes_on_as_it_was(tmp_path):
    (tmp_path / "app.yaml").write_text("size: 3\n")
    with hydra.initialize_config_dir(str(tmp_path), **hydra_access.VERSION_BASE):
        outer = GlobalHydra.instance().hydra
        assert Loader("train").compose([]).T == 100
        assert GlobalHydra.instance().hydra is outer
        assert hydra.compose("app").size == 3
    Loader("train")
    assert not GlobalHydra.instance().is_initialized()
