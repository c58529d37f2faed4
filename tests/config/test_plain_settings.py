"""Settings as plain values, and classes from outside the package."""

import builtins
import json
import sys
from textwrap import dedent

import pytest

from ffattn.config.compose import compose_config
from ffattn.config.convert import to_settings
from ffattn.config.errors import ConfigError
from ffattn.config.schema import Train
from ffattn.errors import SettingError
from ffattn.models import Model
from ffattn.settings import TARGET, Settings, find_class, from_plain, to_plain
from ffattn.tasks import Task

STRANGER = """
    import pathlib
    from dataclasses import dataclass

    from ffattn.models import Mean
    from ffattn.settings import setting
    from ffattn.tasks import Add

    pathlib.Path(__file__).with_name("imported").touch()


    @dataclass
    class Halves(Add):
        share: float = setting(0.5, above=0, below=1)


    @dataclass
    class Slow(Mean):
        delay: int = setting(3, low=1)
"""
YAML = {
    "task/halves.yaml": "_target_: stranger.Halves\ntolerance: 0.04\nshare: 0.25\n",
    "model/slow.yaml": "_target_: stranger.Slow\nhidden: 8\ndelay: 2\n",
}


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A module outside the package, with YAML files of its own; it leaves a file behind when it is imported."""
    (tmp_path / "stranger.py").write_text(dedent(STRANGER))
    for name, text in YAML.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("stranger", None)


def build(*overrides, config_dir=None):
    return to_settings(compose_config("train", list(overrides), config_dir=config_dir), Train)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=lstm", "task=temporal_order_3", "optim=sgd", "length=variable", "task.length.min=30"],
        ["model=lstm_attention", "task=xor", "logger=csv", "accelerator=cpu", "experiment=debug"],
        [
            "trainer.ema_decay=0.99",
            "trainer.gradient_clip=1",
            "init_from=some.ckpt",
            "precision=64",
            "seed=12345678901",
        ],
    ],
    ids=["defaults", "variable", "debug", "options"],
)
def test_a_whole_run_survives_plain_values_and_json(overrides):
    settings = build(*overrides)
    assert from_plain(to_plain(settings), Train) == settings
    assert from_plain(json.loads(json.dumps(to_plain(settings))), Train) == settings


def test_a_strangers_class_in_plain_values_is_not_even_imported(stranger):
    with pytest.raises(SettingError, match="trust=<package>"):
        from_plain({TARGET: "stranger.Halves"}, Task)
    assert "stranger" not in sys.modules
    assert not (stranger / "imported").exists()


def test_a_trusted_strangers_class_is_built(stranger):
    task = from_plain({TARGET: "stranger.Halves", "share": 0.75}, Task, trust=("ffattn", "stranger"))
    assert (type(task).__module__, task.share) == ("stranger", 0.75)
    assert (stranger / "imported").exists()


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "builtins.dict", "subprocess.Popen"])
@pytest.mark.parametrize("trust", ["ffattn", "os", "builtins", "subprocess"])
def test_what_is_no_settings_class_is_refused_whoever_is_trusted(target, trust):
    with pytest.raises(SettingError, match=TARGET):
        from_plain({TARGET: target}, Settings, trust=("ffattn", trust))


def test_a_function_behind_a_target_is_not_called(monkeypatch):
    called = []
    monkeypatch.setattr(builtins, "eval", lambda *_: called.append(1))
    with pytest.raises(SettingError):
        from_plain({TARGET: "builtins.eval", "source": "1"}, Settings, trust=("ffattn", "builtins"))
    assert called == []


def test_a_class_outside_the_package_is_found(stranger):
    assert find_class("stranger.Halves", Task).__name__ == "Halves"
    with pytest.raises(SettingError, match="no subclass"):
        find_class("stranger.Halves", Model)


def test_a_strangers_task_and_model_are_chosen_like_any_other(stranger):
    settings = build("task=halves", "model=slow", config_dir=str(stranger / "conf"))
    assert (settings.task.name, settings.task.share, settings.task.length.name) == ("halves", 0.25, "paper")
    assert (settings.model.name, settings.model.delay, settings.model.hidden) == ("slow", 2, 8)


def test_what_a_strangers_yaml_leaves_out_has_the_dataclass_default(stranger):
    assert build("model=slow", config_dir=str(stranger / "conf")).model.slope == 0.01


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("task.share=2", "task.share=2.0: must be less than 1"),
        ("task.shar=0.1", "task.shar: unknown key; did you mean task.share?"),
        ("task=halvs", "task=halvs: no such choice; did you mean halves?"),
    ],
)
def test_mistakes_in_a_strangers_settings_are_told_alike(stranger, override, told):
    with pytest.raises(ConfigError) as caught:
        build("task=halves", override, config_dir=str(stranger / "conf"))
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
