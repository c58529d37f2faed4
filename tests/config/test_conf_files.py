"""conf/ holds values only: every file composes and builds, and says the same as the dataclass that it names."""

import dataclasses
from collections import Counter
from functools import cache

import pytest
from omegaconf import OmegaConf

from ffattn.config.compose import compose_config
from ffattn.config.convert import to_settings
from ffattn.config.paths import conf_dir
from ffattn.config.schema import Accelerator, Logger, Train, Trainer
from ffattn.config.sweep_plan import Plan
from ffattn.config.trained_schema import Evaluate, Export, Inspect, Predict, Streaming
from ffattn.errors import SettingError
from ffattn.models import FFAttention
from ffattn.optim import Adam
from ffattn.settings import TARGET, Settings, find_class
from ffattn.system.ranks import World
from ffattn.tasks import Add, File
from ffattn.train import COMMAND

FILES = sorted(path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*.yaml"))
DATA_SETS = "amp_vs_uniprot", "basic_motions", "japanese_vowels", "plaid", "tecator", "watch"
ROOTS = [file for file in FILES if "/" not in file]
EXPERIMENTS = [file for file in FILES if file.startswith("experiment/")]
SEARCHES = [file for file in FILES if file.startswith("sweep/")]  # run by tests/cli
PACKAGED = [f"task/{name}" for name in DATA_SETS]
GIVEN = ["length/own", "task/file", "trainer/data", *PACKAGED]  # which need data
OPTIONS = [file for file in FILES if "/" in file and file not in EXPERIMENTS + SEARCHES + GIVEN]
WHERE = {"length": "task.length"}  # groups that land elsewhere than under their own name
WITHOUT_TARGET = {"trainer": Trainer, "accelerator": Accelerator, "logger": Logger}
STATED_BY_THE_NAME = {"accelerator": {"device", "divide", "devices"}, "logger": {"kind"}}  # what a choice is about
NAMED_AFTER = {"accelerator": "device", "logger": "kind"}
SEVERAL = {
    "ddp": ("gpu", "batch"),
    "ddp_cpu": ("cpu", "batch"),
    "fsdp": ("auto", "parameters"),
    "sequence_parallel": ("auto", "time"),
}


def raw(file):
    """The values of a YAML file as they are written."""
    return OmegaConf.to_container(OmegaConf.load(conf_dir() / f"{file}.yaml"), resolve=False)


def settings_class(file):
    """The dataclass that a file of a group gives values to."""
    return WITHOUT_TARGET.get(file.partition("/")[0]) or find_class(raw(file)[TARGET], Settings)


def build(*overrides):
    return to_settings(compose_config("train", list(overrides)), Train)


@cache
def built_from(file):
    """The settings object that a choice leads to, everything else being the default."""
    group, _, name = file.partition("/")
    node = build(f"{group}={name}")
    for part in WHERE.get(group, group).split("."):
        node = getattr(node, part)
    return node


def leaves(node, path=""):
    """Every value of nested dictionaries with its dotted key."""
    for name, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def value_at(settings, key):
    for part in key.split("."):
        settings = getattr(settings, part)
    return settings


def test_every_file_is_accounted_for():
    assert ROOTS == ["evaluate", "export", "inspect", "predict", "stream", "train"]
    assert Counter(file.partition("/")[0] for file in OPTIONS + EXPERIMENTS + SEARCHES + GIVEN) == {
        "task": 12,
        "length": 4,
        "model": 4,
        "optim": 2,
        "trainer": 2,
        "accelerator": 7,
        "logger": 6,
        "experiment": 10,
        "sweep": 1,
    }


@pytest.mark.parametrize("file", OPTIONS)
def test_every_choice_builds_its_class_with_its_defaults_and_states_every_field(file):
    built, cls = built_from(file), settings_class(file)
    assert type(built) is cls
    free = STATED_BY_THE_NAME.get(file.partition("/")[0], set())
    assert built == dataclasses.replace(cls(), **{name: getattr(built, name) for name in free})
    fields = {field.name for field in dataclasses.fields(cls)}
    assert set(raw(file)) - {TARGET} == fields - {"length"}  # a task's length is a group of its own


def test_the_defaults_of_a_file_are_those_of_the_dataclass():
    stated = raw("task/file")["task"]
    assert find_class(stated.pop(TARGET), Settings) is File
    required = {"path": "x.csv", "target": ["y"]}
    built = File(**stated | required)
    assert built == File(**required)
    assert stated.keys() == {field.name for field in dataclasses.fields(File)} - {"length"}


@pytest.mark.parametrize("file", PACKAGED)
def test_a_packaged_data_set_is_told_as_its_class_is(file):
    stated = raw(file)["task"]
    cls = find_class(stated.pop(TARGET), Settings)
    assert cls.name == file.partition("/")[2]
    own, usual = ({field.name: field.default for field in dataclasses.fields(kind)} for kind in (cls, File))
    assert stated == {name: value for name, value in own.items() if value != usual[name]}


def test_given_data_have_a_course_of_training_of_their_own():
    changes = {name: value for name, value in raw("trainer/data").items() if name != "defaults"}
    assert changes.keys() <= {field.name for field in dataclasses.fields(Trainer)}
    config = compose_config("train", ["task=file"])
    assert config.trainer == {**raw("trainer/default"), **changes}
    assert config.task.length == {TARGET: "ffattn.tasks.Own"}


@pytest.mark.parametrize("file", [file for file in OPTIONS if file.partition("/")[0] in {"task", "model"}])
def test_a_task_or_model_is_called_as_its_file_is(file):
    assert built_from(file).name == file.partition("/")[2]


@pytest.mark.parametrize("file", [f for f in OPTIONS if f.partition("/")[0] in NAMED_AFTER])
def test_a_choice_of_device_or_logger_is_called_as_it_is_set(file):
    group, _, name = file.partition("/")
    built = built_from(file)
    if name in SEVERAL:
        assert (built.device, built.divide, built.processes) == (*SEVERAL[name], 2)
    else:
        assert getattr(built, NAMED_AFTER[group]) == name


def test_the_commands_defaults_are_those_of_the_dataclasses():
    assert build() == Train(task=Add(), model=FFAttention(), optim=Adam())


def test_the_paper_is_the_default():
    settings = build()
    assert (settings.task.length.name, settings.optim.lr, settings.updates) == ("paper", 0.003, 100_000)


@pytest.mark.parametrize(
    ("root", "cls"),
    [
        ("train", Train),
        ("evaluate", Evaluate),
        ("export", Export),
        ("inspect", Inspect),
        ("predict", Predict),
        ("stream", Streaming),
    ],
)
def test_every_field_of_a_command_is_a_root_key_or_a_group(root, cls):
    groups = {name for default in raw(root)["defaults"] if default != "_self_" for name in default}
    fields = {field.name for field in dataclasses.fields(cls)}
    assert fields - groups == set(raw(root)) - {"defaults", "hydra"}
    assert groups - fields == {
        group for group in groups if group in {"experiment", "length", "sweep"} or "override" in group
    }


def test_evaluate_composes_and_builds_once_it_knows_the_task():
    config = compose_config("evaluate", ["checkpoint=x.ckpt", "task=add", "T=50", "seed=3", "sequences=9"])
    settings = to_settings(config, Evaluate)
    assert settings.task.length.name == "fixed"
    assert settings == Evaluate(checkpoint="x.ckpt", task=settings.task, T=50, seed=3, sequences=9)


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_every_value_of_an_experiment_wins_over_the_defaults(file):
    settings = build(f"experiment={file.partition('/')[2]}")
    values = {key: value for key, value in leaves(raw(file)) if key.partition(".")[0] not in ("defaults", "hydra")}
    assert {key: value_at(settings, key) for key in values} == values


@pytest.mark.parametrize("file", EXPERIMENTS)
def test_the_command_line_wins_over_an_experiment(file):
    settings = build(f"experiment={file.partition('/')[2]}", "updates=7", "trainer.validate_every=3")
    assert (settings.updates, settings.trainer.validate_every) == (7, 3)


@pytest.mark.parametrize(
    ("name", "jobs"), [("paper/table1", 288), ("paper/variable_length", 16), ("paper/lstm", 36), ("temporal_order", 54)]
)
def test_experiments_that_are_sweeps_build_all_their_jobs(name, jobs, tmp_path):
    """Of which those of one seed and one rate, which take a tenth of the time, are checked."""
    words = [f"experiment={name}", f"hydra.sweep.dir={tmp_path}"]
    assert len(list(Plan(COMMAND, words).grid())) == jobs
    Plan(COMMAND, [*words, "seed=0", "optim.lr=0.003"]).check()


def test_a_gpu_may_be_configured_but_not_used_where_there_is_none(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    accelerator = build("accelerator=gpu").accelerator
    with pytest.raises(SettingError, match=r"^accelerator=gpu: .*accelerator=cpu$"):
        accelerator.check("32")


@pytest.mark.parametrize(("device", "is_there", "resolved"), [("auto", True, "gpu"), ("auto", False, "cpu")])
def test_auto_takes_the_gpu_if_there_is_one(monkeypatch, device, is_there, resolved):
    monkeypatch.setattr("torch.cuda.is_available", lambda: is_there)
    assert Accelerator(device=device).resolved == resolved


def test_float16_is_refused_on_a_cpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(SettingError, match=r"^precision=16-mixed: .*bf16-mixed$"):
        Accelerator(device="cpu").check("16-mixed")
    Accelerator(device="gpu").check("16-mixed")


def test_bfloat16_is_refused_on_a_gpu_without_it(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda emulated: False)
    with pytest.raises(SettingError, match=r"^precision=bf16-mixed: this GPU .*precision=16-mixed$"):
        Accelerator(device="gpu").check("bf16-mixed")
    Accelerator(device="cpu").check("bf16-mixed")


def test_more_gpus_than_there_are_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    with pytest.raises(SettingError, match=r"^accelerator.devices=4: torch finds 3 on this machine$"):
        Accelerator(device="gpu", divide="batch", devices=4).check("32")
    Accelerator(device="gpu", divide="batch", devices=3).check("32")


def test_several_machines_need_someone_who_starts_the_processes(monkeypatch):
    two = Accelerator(device="cpu", divide="batch", devices=2, num_nodes=2)
    with pytest.raises(SettingError, match=r"^accelerator.num_nodes=2: .*torchrun.*srun"):
        two.check("32")
    monkeypatch.setattr("ffattn.config.schema.world", lambda: World(3, 4, 2, "srun"))
    two.check("32")


@pytest.mark.parametrize("options", [{}, {"divide": "batch", "devices": 4}, {"divide": "time", "num_nodes": 4}])
def test_the_processes_that_were_started_must_be_those_of_the_settings(monkeypatch, options):
    monkeypatch.setattr("ffattn.config.schema.world", lambda: World(3, 4, 2, "torchrun"))
    with pytest.raises(SettingError, match=r"^accelerator.devices=\d: torchrun has started 4 processes, 2 on this"):
        Accelerator(device="cpu", **options).check("32")


def test_evaluation_with_several_processes_is_refused():
    with pytest.raises(SettingError, match=r"^accelerator.devices=2: evaluation has one process"):
        Evaluate("x.ckpt", Add(), build("accelerator=ddp_cpu").accelerator)


def test_the_folder_of_yaml_files_is_absolute():
    assert conf_dir().is_absolute()
    assert (conf_dir() / "train.yaml").is_file()
