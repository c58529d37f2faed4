"""Two thousand inputs that nobody would write, a quarter of them in `make test`.

Each ends in what was asked for, or in one line for each mistake.

Every case is a function of its number. What was found goes to tests/config/test_bad_overrides.py or beside the reader
that it was found in.
"""

import copy
import json
import random

import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from ffattn.config.compose import Loader, without_hydra
from ffattn.config.convert import to_settings
from ffattn.config.explain import explain
from ffattn.config.schema import Train
from ffattn.errors import FFAttnError
from ffattn.files.tables import read_table
from ffattn.inference.trained import load
from ffattn.settings import to_plain
from tests.odd_words import EXTRA_KEYS, PREFIXES, WORDS
from tests.pairwise import few


def flatten(plain, path=""):
    for name, value in plain.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{path}{name}.")
        elif name != "_target_":
            yield f"{path}{name}", value


def keys_of(loader):
    return [key for key, _ in flatten(to_plain(settings_of(loader, [])))]


def settings_of(loader, overrides):
    return to_settings(without_hydra(loader.compose(overrides)), Train)


def assert_said_in_lines(error, case):
    text = str(error) if isinstance(error, FFAttnError) else explain(error, None)
    lines = text.split("\n")
    assert all(line.strip() for line in lines), (case, text)
    assert "Traceback" not in text, case
    assert max(map(len, lines)) < 1000, (case, text)


EXPECTED = FFAttnError, HydraException, OmegaConfBaseException  # what a command prints as lines


@pytest.mark.parametrize("part", few(range(20), 0, 1))
def test_overrides(part):
    loader, numbers, refused = Loader("train"), random.Random(part), 0
    keys = [*keys_of(loader), *EXTRA_KEYS]
    for _ in range(50):
        count = numbers.choice([1, 1, 1, 2, 3])
        pairs = [(numbers.choice(PREFIXES), numbers.choice(keys), numbers.choice(WORDS)) for _ in range(count)]
        case = [f"{prefix}{key}={value}" for prefix, key, value in pairs]
        try:
            made = dict(flatten(to_plain(settings_of(loader, case))))
        except EXPECTED as error:
            refused += 1
            assert_said_in_lines(error, case)
            continue
        for (prefix, key, _), line in zip(pairs, case, strict=True):
            if prefix == "~" or key not in made or sum(key == other for _, other, _ in pairs) > 1:
                continue
            given = loader.parse([line])[0].value()
            if isinstance(given, int | float | None) and not isinstance(made[key], str):  # 3 is a name, too
                assert made[key] == given, (case, made[key])
    assert refused > 10


YAML = [
    *(
        "T: {}",
        "task: {}",
        "defaults: {}",
        "model: {{hidden: {}}}",
        "{}",
        "? {}",
        "- {}",
        "T: !!python/name:{}",
        "T: &a {}",
    ),
    *(
        "# @package _global_\nT: {}\noptim: {{lr: {}}}",
        "# @package _global_\ndefaults:\n  - override /task: {}\n",
        "T: |\n {}",
    ),
    *(
        "# @package _global_\nmodel:\n  _target_: {}\n",
        "# @package {}\nT: 50",
        "T: !!int {}",
        "T: *{}",
        "<<: {}",
        "\t{}",
    ),
]


@pytest.mark.parametrize("part", few(range(4), 0))
def test_yaml_files(tmp_path, part):
    folder, numbers = tmp_path / "conf" / "experiment", random.Random(part)
    folder.mkdir(parents=True)
    for number in range(50):
        text = numbers.choice(YAML)
        text = text.format(*(numbers.choice(WORDS) for _ in range(3)))
        (folder / f"case{number}.yaml").write_text(text)
        try:
            settings_of(Loader("train", str(tmp_path / "conf")), [f"experiment=case{number}"])
        except EXPECTED as error:
            assert_said_in_lines(error, text)


ODD = [
    None,
    True,
    -1,
    0,
    2**70,
    1.5,
    float("nan"),
    "",
    "ffattn",
    "os.system",
    [],
    [1],
    {},
    {"_target_": "ffattn"},
    b"x",
]


def spoil(plain, numbers):
    """Change, drop or add something somewhere in nested dictionaries and lists."""
    where = plain
    while isinstance(where, dict | list) and where:
        key = numbers.choice(list(where) if isinstance(where, dict) else range(len(where)))
        if isinstance(where[key], dict | list) and where[key] and numbers.random() < 0.8:
            where = where[key]
        elif numbers.random() < 0.3:
            del where[key]
            return
        else:
            odd = torch.zeros(numbers.choice([(), (0,), (2, 3)])) if numbers.random() < 0.2 else numbers.choice(ODD)
            where[key] = copy.deepcopy(odd)
            return


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    from ffattn.api import fit

    small = ("T=12", "updates=2", "batch_size=4", "model.hidden=4", "trainer.sequences=4", "trainer.validate_every=2")
    folder = tmp_path_factory.mktemp("saved") / "run"
    return fit(*small, accelerator="cpu", logger="none", folder=folder, quiet=True)


@pytest.mark.parametrize("part", few(range(8), 0, 1))
def test_checkpoints(tmp_path, saved, part):
    """Of which every field may be anything: loaded, and continued."""
    numbers, path = random.Random(part), tmp_path / "case.ckpt"
    contents = torch.load(saved.checkpoint, weights_only=True)
    for _ in range(50):
        case = copy.deepcopy(contents)
        for _ in range(numbers.choice([1, 1, 2])):
            spoil(case["ffattn"] if numbers.random() < 0.7 else case, numbers)
        torch.save(case, path)
        try:
            load(path).predict(torch.zeros(1, 12, 2))
        except FFAttnError as error:
            assert_said_in_lines(error, case.get("ffattn", case))


def columns(numbers):
    return {"id": [0, 0, 1, 1, 2], "a": [numbers.random() for _ in range(5)], "y": [1.0, 1.0, 0.0, 0.0, 1.0]}


def write(path, table):
    import pyarrow.parquet

    if path.suffix == ".csv":
        rows = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
        path.write_text("\n".join(rows) + "\n")
    elif path.suffix == ".jsonl":
        names, values = list(table), zip(*table.values(), strict=True)
        path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in values))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(table), path)
    else:
        np.savez(path, x=np.random.default_rng(0).normal(size=(4, 3, 2)), y=np.arange(4) % 2)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet", ".npz"])
@pytest.mark.parametrize("part", range(3))
def test_data_files(tmp_path, suffix, part):
    numbers, path = random.Random(part), tmp_path / f"case{suffix}"
    write(path, columns(numbers))
    good = path.read_bytes()
    for _ in range(40):
        data = bytearray(good)
        for _ in range(numbers.choice([1, 2, 8])):
            at = numbers.randrange(len(data))
            change = numbers.choice(["bit", "cut", "double", "word"])
            if change == "bit":
                data[at] ^= 1 << numbers.randrange(8)
            elif change == "cut" and len(data) > 9:
                del data[at : at + numbers.randrange(1, 9)]
            elif change == "double":
                data[at:at] = data[at : at + numbers.randrange(1, 99)]
            else:
                data[at:at] = numbers.choice(WORDS).encode()
        path.write_bytes(data)
        try:
            read_table(path)
        except FFAttnError as error:
            assert_said_in_lines(error, bytes(data))
