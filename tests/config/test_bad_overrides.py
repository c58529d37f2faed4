"""What a user can get wrong on the command line, and the message for it: a line for each mistake."""

import re
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from ffattn.config.compose import compose_config
from ffattn.config.convert import to_settings
from ffattn.config.errors import ConfigError, nearest
from ffattn.config.explain import explain
from ffattn.config.schema import Train
from ffattn.config.synonyms import SYNONYMS

EXACT = {
    # unknown key
    "+task.tolerence=3": "task.tolerence: unknown key; did you mean task.tolerance?",
    "task.tolerence=3": "task.tolerence: unknown key; did you mean task.tolerance?",
    "model.hiden=3": "model.hiden: unknown key; did you mean model.hidden?",
    "optim.Lr=0.1": "optim.Lr: unknown key; did you mean optim.lr?",
    "++optim.Lr=0.1": "optim.Lr: unknown key; did you mean optim.lr?",
    "length.min=20": "length.min: unknown key; did you mean task.length.min?",
    "taks=add": "taks: unknown key; did you mean task?",
    "sede=3": "sede: unknown key; did you mean seed?",
    "model=lstm_attention model.dropot=0.1": "model.dropot: unknown key; did you mean model.dropout?",
    "length=variable task.length.mim=20": "task.length.mim: unknown key; did you mean task.length.min?",
    "model=lstm model.slope=0.1": "model.slope: unknown key (model has cell, hidden, forget_bias)",
    "optim=sgd optim.beta1=0.5": (
        "optim.beta1: unknown key (optim has lr, schedule, warmup, horizon, momentum, nesterov, weight_decay)"
    ),
    # what others call it
    "epochs=3": "epochs: unknown key; use updates, in optimiser steps",
    "trainer.max_epochs=3": "trainer.max_epochs: unknown key; use updates, in optimiser steps",
    "val_check_interval=10": "val_check_interval: unknown key; use trainer.validate_every, in updates",
    "model.optimizer.lr=0.1": "model.optimizer.lr: unknown key; use optim.lr",
    "data.batch_size=3": "data.batch_size: unknown key; did you mean batch_size?",
    "lr=0.1": "lr: unknown key; did you mean optim.lr?",
    "devices=2": "devices: unknown key; use accelerator.devices",
    "data=mnist": "data: unknown key; use task",
    "ckpt_path=last.ckpt": "ckpt_path: unknown key; use resume",
    # wrong type
    "T=abc": "T=abc: must be a whole number",
    "T=1e4": "T=10000.0: must be a whole number; write 10000",
    "T=1.5": "T=1.5: must be a whole number",
    "T=true": "T=True: must be a whole number",
    "batch_size=2e1": "batch_size=20.0: must be a whole number; write 20",
    "model.hidden=[1,2]": "model.hidden=[1, 2]: must be a whole number",
    "model.length_scale=maybe": "model.length_scale=maybe: must be true or false",
    "trainer.race=50": "trainer.race=50: must be true or false",
    "accelerator.cuda_graph=-1": "accelerator.cuda_graph=-1: must be true or false",
    "optim.lr=abc": "optim.lr=abc: must be a number",
    "trainer.ema_decay=high": "trainer.ema_decay=high: must be a number or null",
    # out of range
    "T=5": "T=5: must be at least 11 for task=add",
    "T=0": "T=0: must be at least 1",
    "task=xor T=10": "T=10: must be at least 11 for task=xor",
    "task=temporal_order_2 T=9": "T=9: must be at least 10 for task=temporal_order_2",
    "T=2147483648": "T=2147483648: must be at most 2147483647",
    "model.hidden=0": "model.hidden=0: must be at least 1",
    "optim.lr=-1": "optim.lr=-1.0: must be more than 0",
    "optim.lr=nan": "optim.lr=nan: must be a finite number",
    "optim.lr=inf": "optim.lr=inf: must be a finite number",
    "optim.beta1=1": "optim.beta1=1.0: must be less than 1",
    "seed=-1": "seed=-1: must be at least 0",
    "seed=9223372036854775808": "seed=9223372036854775808: must be at most 9223372036854775807",
    "batch_size=0": "batch_size=0: must be at least 1",
    "accelerator=ddp accelerator.devices=0": "accelerator.devices=0: must be at least 1",
    "accelerator=ddp_cpu accelerator.devices=-1": "accelerator.devices=-1: must be at least 1",
    "accelerator=ddp_cpu accelerator.num_nodes=0": "accelerator.num_nodes=0: must be at least 1",
    "accelerator=ddp_cpu accelerator.devices=3": "batch_size=100: must be a multiple of the 3 processes",
    "accelerator=fsdp accelerator.devices=3": "batch_size=100: must be a multiple of the 3 processes",
    "accelerator=fsdp precision=64": (
        "precision=64: accelerator=fsdp must have one of 32, bf16-mixed, which Lightning can shard"
    ),
    "accelerator=fsdp trainer.ema_decay=0.9": (
        "trainer.ema_decay=0.9: cannot be combined with accelerator=fsdp: averages would need whole parameters"
    ),
    "accelerator=ddp_cpu trainer.sequences=1": "trainer.sequences=1: must be at least the 2 processes",
    "accelerator=sequence_parallel T=12 accelerator.devices=16": "T=12: must be at least the 16 processes",
    "accelerator=cpu accelerator.devices=2": (
        "accelerator.devices=2: is for several processes: accelerator=ddp, ddp_cpu, fsdp or sequence_parallel"
    ),
    "accelerator.num_nodes=2": (
        "accelerator.num_nodes=2: is for several processes: accelerator=ddp, ddp_cpu, fsdp or sequence_parallel"
    ),
    "accelerator=sequence_parallel model=lstm": (
        "model=lstm: takes the steps of a sequence in their order, which processes cannot divide; use model=ffattn"
    ),
    "accelerator=ddp accelerator.cuda_graph=true": (
        "accelerator.cuda_graph=true: cannot be combined with accelerator.devices=2"
    ),
    "updates=0": "updates=0: must be at least 1",
    "task.tolerance=0": "task.tolerance=0.0: must be more than 0",
    "trainer.gradient_clip=0": "trainer.gradient_clip=0.0: must be more than 0",
    "model=lstm_attention model.dropout=1": "model.dropout=1.0: must be less than 1",
    "length=variable task.length.min=200": "task.length.min=200: must be at most T=100",
    "length=variable T=40": "task.length.min=50: must be at most T=40",
    "length=variable task.length.min=5": "task.length.min=5: must be at least 11 for task=add",
    # unknown option
    "model.score=foo": "model.score=foo: must be one of tanh, linear",
    "precision=16": "precision=16: must be one of 32, 64, bf16-mixed, 16-mixed",
    "trainer.pictures=0": "trainer.pictures=0: must be at least 1",
    "trainer.profiler=fast": "trainer.profiler=fast: must be one of none, simple, advanced, pytorch",
    "length=variabel": (
        "length=variabel: no such choice; did you mean variable? (length has fixed, own, paper, variable)"
    ),
    "task=multipy": (
        "task=multipy: no such choice; did you mean multiply? "
        "(task has add, amp_vs_uniprot, basic_motions, file, japanese_vowels, multiply, plaid, tecator, "
        "temporal_order_2, temporal_order_3, watch, xor)"
    ),
    "logger=comet": "logger=comet: no such choice (logger has csv, many, mlflow, none, tensorboard, wandb)",
    # a list of choices without -m
    "task=[add,xor]": "task=[add,xor]: choose one; to try each, put -m first and write task=add,xor",
    "T=50,100": "T=50,100: choose one; to try each, put -m first and write T=50,100",
    "optim.lr=0.1,0.2": "optim.lr=0.1,0.2: choose one; to try each, put -m first and write optim.lr=0.1,0.2",
    # whole parts
    "~model": "model: missing",
    "task.length=3": "task.length=3: must be a choice of the group, or a mapping of settings",
    "optim.lr=${nowhere}": "optim.lr: Interpolation key 'nowhere' not found",
    "resume=y.ckpt init_from=x.ckpt": "init_from=x.ckpt: cannot be combined with resume, which has weights already",
}

PARTS = {  # the key parts of messages whose words are free
    "T=null": ["T", "must be a whole number"],
    "model.score=null": ["model.score", "must be"],
    "+foo=1": ["foo: unknown key", "task, model, optim, trainer, accelerator, logger, T, seed"],
    "model.zzz=1": ["model.zzz: unknown key", "hidden", "slope"],
    "task.zzz=1": ["task.zzz: unknown key", "tolerance"],
    "foo.bar=1": ["foo.bar: unknown key"],
    "T": ["T: cannot be read as an override", "key=value"],
    "model=3": ["model=3", "ffattn"],
    "optim=null": ["optim", "adam"],
    "+model=mean": ["model"],
    "+task.tolerance=3": ["task.tolerance"],
    "~T": ["T"],
    "++task._target_=os.system": ["task._target_=os.system", "Task"],
    "++model._target_=ffattn.tasks.Add": ["model._target_=ffattn.tasks.Add", "Model"],
    "+trainer._target_=os.system": ["trainer._target_=os.system", "Trainer"],
    "task=temporal_order": ["did you mean temporal_order_2 or temporal_order_3? "],
    "++task._target_=nowhere.Task": ["task._target_=nowhere.Task", "cannot be imported"],
}


def message(command_line):
    """What the user is told; the overrides are separated by blanks."""
    with pytest.raises(ConfigError) as caught:
        to_settings(compose_config("train", command_line.split()), Train)
    return str(caught.value)


@pytest.mark.parametrize(("command_line", "expected"), EXACT.items(), ids=EXACT)
def test_a_mistake_is_told_in_one_line(command_line, expected):
    assert message(command_line) == expected


@pytest.mark.parametrize(("command_line", "parts"), PARTS.items(), ids=PARTS)
def test_a_rarer_mistake_is_told_in_one_line_that_names_the_key(command_line, parts):
    told = message(command_line)
    assert [part for part in parts if part not in told] == []
    assert "\n" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    "command_line",
    [
        "T=abc model.hidden=0 optim.lr=-1 trainer.sequences=0",
        "T=1.5 batch_size=abc",
        "model.hidden=0 model.slope=5",
        "seed=-1 model.hidden=0",
        "seed=-1 updates=0",
    ],
)
def test_several_mistakes_are_told_together_each_in_a_line_of_its_own(command_line):
    told = message(command_line).splitlines()
    keys = [override.partition("=")[0] for override in command_line.split()]
    assert sorted(line.partition("=")[0].partition(":")[0] for line in told) == sorted(keys)


def test_a_mistake_in_one_group_does_not_hide_that_of_another():
    told = message("model.hidden=0 optim.lr=-1 trainer.sequences=0 length=variable task.length.min=200")
    assert sorted(told.splitlines()) == [
        "model.hidden=0: must be at least 1",
        "optim.lr=-1.0: must be more than 0",
        "task.length.min=200: must be at most T=100",
        "trainer.sequences=0: must be at least 1",
    ]


def test_a_config_error_is_a_value_error_that_hydra_prints_without_a_traceback():
    from hydra.errors import CompactHydraException

    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, CompactHydraException)


def test_a_config_dir_that_is_not_there_is_a_mistake_too():
    with pytest.raises(ConfigError, match=r"^--config-dir=no/such/folder: there is no such folder$"):
        compose_config("train", [], config_dir="no/such/folder")


@pytest.mark.parametrize(
    ("name", "candidates", "hint"),
    [
        ("tolerence", ["tolerance", "length"], "; did you mean tolerance?"),
        ("LR", ["lr", "eps"], "; did you mean lr?"),
        ("model.hiden", ["task.hidden", "model.hidden"], "; did you mean model.hidden?"),
        ("hiden", ["a.hidden"], "; did you mean a.hidden?"),
        ("zzz", ["tolerance"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_key_is_a_sibling_if_there_is_one(name, candidates, hint):
    assert nearest(name, candidates) == hint


def test_a_yaml_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bad.yaml").write_text("a: b: c\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml.*line 1"):
        compose_config("train", ["model=bad"], str(tmp_path))


def test_a_group_that_has_a_choice_takes_no_plus():
    with pytest.raises(ConfigError) as caught:
        compose_config("train", ["+model=mean"])
    assert str(caught.value) == "+model=mean: has a choice already; write it without the +"


@pytest.mark.parametrize(("launcher", "extra"), [("joblib", "sweep"), ("ray", "ray")])
def test_a_launcher_that_is_not_installed_says_what_brings_it(launcher, extra):
    error = MissingConfigException("no", missing_cfg_file=f"hydra/launcher/{launcher}", options=["basic"])
    line = f"hydra/launcher={launcher}: is not installed; pip install 'ffattn[{extra}]' brings it"
    assert explain(error, None) == line


def dotted(node, path=""):
    """All keys below a node of a configuration, the groups included."""
    keys = {path} if path else set()
    if isinstance(node, dict):
        keys |= {key for name, below in node.items() for key in dotted(below, f"{path}.{name}" if path else name)}
    return keys


def test_a_synonym_is_of_a_key_that_the_command_has():
    with pytest.raises(ConfigError, match=r"^ckpt_path: unknown key; use checkpoint$"):
        compose_config("evaluate", ["ckpt_path=last.ckpt"])
    with pytest.raises(ConfigError, match=r"^max_epochs: unknown key"):
        compose_config("evaluate", ["max_epochs=3"])


def test_every_synonym_is_of_a_setting():
    variants = ("train", []), ("train", ["optim=sgd", "accelerator=ddp_cpu"]), ("evaluate", ["checkpoint=x"])
    keys = set().union(*(dotted(OmegaConf.to_container(compose_config(*variant))) for variant in variants))
    assert {name for names in SYNONYMS.values() for name in names.split()} <= keys | {"hydra.run.dir"}
    assert not set(SYNONYMS) & keys


def test_the_documentation_has_our_names():
    page = (Path(__file__).parents[2] / "docs" / "lightning.md").read_text().partition("| you know |")[2]
    rows = [re.findall(r"`([^`]+)`", row) for row in page.splitlines() if row.startswith("| `")]
    assert len(rows) == 15
    for names in rows:
        theirs = [name for name in names if name in SYNONYMS]
        assert {ours for name in theirs for ours in SYNONYMS[name].split()} == set(names) - set(theirs)
