"""What the README says works: every command, every example, every link."""

import importlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch

from ffattn import evaluate, inspect, report, train
from scripts.docs import weather

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
# A command is run as it stands but for its size; the last override of a key wins.
SMALL = ["updates=2", "trainer.validate_every=1", "trainer.sequences=4", "batch_size=2", "trainer.progress=none"]


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands(module):
    lines = [line.partition(" #")[0] for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line)[3:] for line in lines if line.startswith(f"python -m ffattn.{module}")]


def run(module, monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", [f"ffattn-{module.__name__}", *arguments])
    module.main()


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the README's own task and model in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for language in ("python", "yaml"):
        for text in blocks(language):
            if named := re.match(r"# (mine/\S+)\n", text):
                path = Path(named.group(1))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    weather.write(Path("weather.csv"), count=40)
    torch.set_num_threads(1)
    with mock.patch.dict(os.environ):
        yield tmp_path


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder for what several tests need, and the first one makes."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def trained(workplace, kept, monkeypatch):
    """The runs that commands of the README look at."""
    if not (kept / "outputs").exists():
        own = ["--config-dir", "mine/conf", "task=majority", "model=deepsets", "hydra.run.dir=outputs/ours", *SMALL]
        run(train, monkeypatch, own)
        run(train, monkeypatch, ["task=add", "T=20", "hydra.run.dir=outputs/mine", *SMALL])
        shutil.copytree("outputs", kept / "outputs")
    shutil.copytree(kept / "outputs", "outputs", dirs_exist_ok=True)


def smaller(arguments):
    """What makes a run small; given data has as many sequences as it has."""
    is_given = any(word in arguments for word in ("task=file", "task=japanese_vowels"))
    return [word for word in SMALL if not is_given or "sequences" not in word]


def shortened(arguments):
    short = [re.sub(r"^T=10+$", "T=100", argument) for argument in arguments]
    places = [i for i, argument in enumerate(short) if argument.startswith("updates=")]
    return [argument for i, argument in enumerate(short) if i not in places]


def in_processes(arguments):
    """As a parameter: several processes take seconds to start, and are tested in tests/train."""
    marks = [pytest.mark.slow] if "accelerator.devices=2" in arguments else []
    return pytest.param(arguments, id=" ".join(arguments), marks=marks)


@pytest.mark.parametrize("arguments", [in_processes(arguments) for arguments in commands("train")])
def test_training_commands_run(arguments, workplace, monkeypatch, capsys):
    if "resume=last" in arguments:
        arguments = [argument for argument in arguments if not argument.startswith("updates=")]
    run(train, monkeypatch, [*shortened(arguments), *smaller(arguments)])
    assert list(workplace.rglob("result.json"))
    if "accelerator.devices=2" not in arguments:  # whose processes print for themselves
        assert ("0 failed" if "-m" in arguments else "baseline") in capsys.readouterr().out


EXPECTED = re.findall(r"`python -m ffattn.train ([^`]*)`", (ROOT / "docs" / "expect.md").read_text())


@pytest.mark.parametrize("words", EXPECTED)
def test_what_to_expect_can_be_tried(words, workplace, monkeypatch):
    run(train, monkeypatch, [*shortened(words.split()), *SMALL, "logger=none"])
    assert list(workplace.rglob("result.json"))


IN_DOCS = [
    words.replace("RATE", "0.003").replace("NAME", "mean")
    for path in sorted((ROOT / "docs").glob("*.md"))
    for words in re.findall(r"-m ffattn\.train ([^`#\n\\]*)", path.read_text())
    if "launcher=ray" not in words  # an extra that stands apart
]


@pytest.mark.parametrize("words", IN_DOCS)
def test_commands_in_the_documentation_run(words, workplace, monkeypatch, capsys):
    if "task=japanese_vowels" in words:
        pytest.importorskip("sktime")
    first = [re.sub(r",.*", "", word) for word in words.split() if word not in {"-m", "--cfg", "job"}]
    if any(key in words for key in ("--cfg", "accelerator.num_nodes", "accelerator.devices", "hydra/launcher=")):
        # these need several processes, or other machines
        run(train, monkeypatch, [*first, "--cfg", "job"])
        assert "_target_: ffattn.tasks." in capsys.readouterr().out
    else:
        run(train, monkeypatch, ["hydra.mode=RUN", *shortened(first), *smaller(first), "logger=none"])
        assert list(workplace.rglob("result.json"))


@pytest.mark.parametrize("arguments", commands("evaluate"), ids=" ".join)
def test_evaluation_commands_run(arguments, trained, workplace, monkeypatch, capsys):
    run(evaluate, monkeypatch, [*shortened(arguments), "sequences=4"])
    assert "baseline" in capsys.readouterr().out
    assert len(list(workplace.rglob("result.json"))) == 3


@pytest.mark.parametrize("arguments", commands("report"), ids=" ".join)
def test_reporting_commands_run(arguments, workplace, monkeypatch, capsys):
    sweep = next(words for words in commands("train") if f"hydra.sweep.dir={arguments[0]}" in words)
    run(train, monkeypatch, [*shortened(sweep), *SMALL])
    run(report, monkeypatch, arguments)
    assert len(capsys.readouterr().out.partition("| task |")[2].partition("\n\n")[0].splitlines()) == 4


def test_the_way_from_data_to_answers_can_be_gone(workplace, monkeypatch, capsys):
    text = (ROOT / "docs" / "your_data.md").read_text()
    for line in re.findall(r"^python -m ffattn\.(.*)", text, flags=re.MULTILINE):
        name, *arguments = shlex.split(line)
        small = ["updates=2", "trainer.progress=none", "logger=none"] if name == "train" else []
        run(importlib.import_module(f"ffattn.{name}"), monkeypatch, [*arguments, *small])
    assert {"answers.csv", "weather.onnx"} <= {path.name for path in workplace.iterdir()}
    assert len(Path("answers.csv").read_text().splitlines()) == 41
    for example in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(compile(example.replace("updates=500", 'updates=1, logger="none"'), "your_data.md", "exec"), {})


@pytest.mark.parametrize("arguments", commands("inspect"), ids=" ".join)
def test_looking_commands_run(arguments, trained, workplace, monkeypatch, capsys):
    run(inspect, monkeypatch, [*arguments, "sequences=4"])
    assert len(list(workplace.rglob("index.html"))) == 1


def test_python_examples_run(workplace, capsys):
    examples = [text for text in blocks("python") if not text.startswith("# mine/")]
    assert len(examples) == 2
    for text in examples:
        small = text.replace("updates=2000", 'updates=1, batch_size=2, logger="none"').replace("10_000", "100")
        exec(compile(small, "README.md", "exec"), {})
    assert "best.ckpt" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")  # Lightning's advice about workers
@pytest.mark.parametrize("page", ["layers.md", "lightning.md"])
def test_the_examples_of_a_page_run(page):
    for example in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL):
        exec(compile(example.replace("validate_every=100", "validate_every=1"), page, "exec"), {})


def test_the_readme_shows_every_choice():
    for group in ("task", "model", "length", "optim", "accelerator", "logger", "experiment"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in README, f"{group}={path.stem}"


DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#\s]+)", document.read_text())
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing


def test_make_targets_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", README + (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= targets


def test_the_run_that_is_resumed_goes_on(workplace, monkeypatch, capsys):
    first, second = (arguments for arguments in commands("train") if "hydra.run.dir=outputs/mine" in arguments)
    assert "resume=last" in second
    small = [argument for argument in SMALL if not argument.startswith("updates=")]
    for arguments in (first, second):
        shorter = [re.sub(r"^updates=(\d)000$", r"updates=\1", argument) for argument in arguments]
        run(train, monkeypatch, [re.sub(r"^T=1000$", "T=20", argument) for argument in shorter] + small)
    assert "4 updates" in capsys.readouterr().out
