"""Many results in one table: hand-made runs, whose medians can be computed in the head."""

import csv
import json
from pathlib import Path

import pytest

from ffattn import report
from ffattn.config.errors import DamagedError
from ffattn.reports.paper import published
from ffattn.reports.table import Run, cells_of, markdown, read_runs, table_rows


def result_of(lr=0.003, seed=0, updates=1000, solved=1.0, reason="solved", **settings):
    task, model, T = (settings.pop(name, value) for name, value in (("task", "add"), ("model", "ffattn"), ("T", 50)))
    floor = {"solved": 0.1536, "error": 1 / 24}
    length = {"_target_": "ffattn.tasks.Paper", "T": T, "attend_to_padding": settings.pop("padding", False)}
    return {
        "task": task,
        "model": model,
        "T": T,
        "seed": seed,
        "updates": updates,
        "epochs": updates / 1000,
        "stopped_because": reason,
        "seconds": updates / 100,
        "updates_per_second": 100.0,
        "peak_memory_mb": 600.0,
        "val": {"solved": solved, "error": 1e-4, "update": updates, "floor": floor},
        "test": {"solved": solved - 0.001, "error": 1e-4, "floor": floor},
        "device": "cpu (x86_64, 1 thread)",
        "commit": "abc",
        "command": ["python", "-m", "ffattn.train", f"task={task}", "hydra/launcher=joblib", "hydra.sweep.dir=/x/y"],
        "settings": {
            "task": {"_target_": "ffattn.tasks.Add", "length": length},
            "model": {"_target_": "ffattn.models.FFAttention", "init": settings.pop("init", "paper")},
            "optim": {"_target_": "ffattn.optim.Adam", "lr": lr},
            "trainer": {"race": settings.pop("race", True), "validate_every": 1000, "progress": "none"},
            "accelerator": {"device": settings.pop("device", "cpu")},
            "logger": {"kind": "none"},
            "T": T,
            "seed": seed,
            "updates": settings.pop("most", 100_000),
            "resume": "last",
            "batch_size": settings.pop("batch_size", 100),
        },
    }


def cells(*results):
    return cells_of([Run(Path(), result) for result in results])


def only_row(*results):
    (cell,) = cells(*results)
    return cell.row()


def test_of_each_seeds_rates_the_one_with_the_fewest_updates_counts():
    row = only_row(
        result_of(0.003, 0, 4000),
        result_of(0.01, 0, 2000),
        result_of(0.001, 0, 2000, 0.9, "raced"),
        result_of(0.003, 1, 5000),
        result_of(0.01, 1, 9000, 0.99, "raced"),
        result_of(0.01, 2, 3000),
    )
    assert (row["solved"], row["epochs"], row["best rates"]) == ("3 of 3", "3 (2-5)", "0.003, 0.01")
    assert (row["updates"], row["updates, all rates"]) == ("3,000 (2,000-5,000)", "25,000")
    assert (row["seconds"], row["seconds, all rates"]) == ("30 (20-50)", "250")
    assert (row["accuracy"], row["floor"], row["paper"]) == ("", "15.4%", "1")


def test_a_run_that_went_on_counts_until_it_was_solved():
    known = {"update": [100, 200, 300], "solved": [0.5, 1.0, 0.9], "error": [1, 0, 0]}
    row = only_row(result_of(updates=300, reason="updates") | {"validations": known})
    assert (row["epochs"], row["updates"], row["updates, all rates"]) == ("0.2", "200", "300")


def test_a_seed_that_nobody_solved_shows_the_accuracy_of_its_best_rate():
    row = only_row(
        result_of(0.003, 0, 100_000, 0.95, "updates"),
        result_of(0.01, 0, 100_000, 0.9, "updates"),
        result_of(0.003, 1, 7000),
    )
    assert (row["solved"], row["epochs"], row["accuracy"]) == ("1 of 2", "7", "94.9%")


def test_what_changes_no_result_makes_no_other_cell():
    same = cells(result_of(device="cpu"), result_of(device="gpu", seed=1), result_of(race=False, seed=2, most=5))
    assert len(same) == 1


def test_a_setting_that_older_results_lack_makes_no_other_cell():
    new = result_of(seed=1)
    new["settings"]["trainer"]["newer"] = None
    assert len(cells(result_of(), new)) == 1


def test_what_a_run_does_when_memory_is_short_makes_no_other_cell():
    other = result_of(seed=1)
    other["settings"]["trainer"]["on_oom"] = "accumulate"
    assert len(cells(result_of(), other)) == 1


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"init": "he"}, ("model.init=he", "model.init=paper")),
        ({"padding": True}, ("task.length.attend_to_padding=False", "task.length.attend_to_padding=True")),
        ({"batch_size": 20}, ("batch_size=100", "batch_size=20")),
    ],
    ids=str,
)
def test_what_differs_between_cells_is_named(other, words):
    found = cells(result_of(), result_of(T=100, **other))
    assert sorted(cell.variant for cell in found) == sorted(words)


def test_cells_of_other_lengths_tasks_and_models_need_no_name():
    found = cells(result_of(), result_of(T=100), result_of(task="multiply"), result_of(model="mean"))
    assert [cell.key for cell in found] == [
        ("add", "ffattn", 50, ""),
        ("add", "ffattn", 100, ""),
        ("add", "mean", 50, ""),
        ("multiply", "ffattn", 50, ""),
    ]


def test_rates_that_are_missing_are_said():
    (cell,) = cells(result_of(0.003, 0), result_of(0.01, 0), result_of(0.003, 1))
    assert cell.gaps() == "seed 1 lacks 0.01"
    assert "- add ffattn 50: seed 1 lacks 0.01." in markdown([cell])


def test_the_table_says_where_it_comes_from():
    text = markdown(cells(result_of(), result_of(0.01, reason="raced", solved=0.5)))
    assert "2 runs, of which 1 were stopped since another learning rate was better." in text
    assert "Commit: abc." in text
    assert "    python -m ffattn.train task=add\n" in text  # without what is a matter of the machine


def test_a_cells_command_is_its_part_of_the_sweep():
    command = "python -m ffattn.train -m experiment=x T=50,60 model.init=paper,he seed=0,1 hydra.sweep.dir=/x"
    made = [result_of(init="he") | {"command": command.split()}, result_of(T=60) | {"command": []}]
    ours, other = cells(*made)
    assert ours.command() == "python -m ffattn.train -m experiment=x task=add model=ffattn T=50 model.init=he"
    assert other.command() == ""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ({"T": 10_000}, 3),
        ({"T": 10_000, "task": "multiply", "model": "mean"}, 0.808),
        ({"T": 60}, None),
        ({"task": "xor"}, None),
        ({"model": "lstm"}, None),
    ],
    ids=str,
)
def test_the_papers_numbers(cell, expected):
    assert published(result_of(**cell)) == expected


def test_the_papers_numbers_for_all_lengths_at_once():
    result = result_of(T=10_000, task="multiply")
    result["settings"]["task"]["length"] = {"_target_": "ffattn.tasks.Variable", "T": 10_000, "min": 50}
    assert published(result) == 0.994


@pytest.fixture
def folder(tmp_path):
    """Two runs, an evaluation, and no more."""
    results = {"a/1": result_of(), "a/2": result_of(0.01, updates=2000), "b": {"settings": {}, "test": {}}}
    for name, result in results.items():
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "result.json").write_text(json.dumps(result))
    return tmp_path / "runs"


def run(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["ffattn-report", *map(str, arguments)])
    report.main()


def test_every_run_is_a_row_of_the_csv(folder, monkeypatch, capsys):
    run(monkeypatch, folder, "--output", folder / "out/table", "--title", "Mine")
    with (folder / "out/table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["lr"], row["updates"], row["folder"]) for row in rows] == [
        ("0.003", "1000", (folder / "a/1").as_posix()),
        ("0.01", "2000", (folder / "a/2").as_posix()),
    ]
    assert rows == [{k: str(v) for k, v in row.items()} for row in table_rows(cells_of(read_runs([folder])))]
    text = (folder / "out/table.md").read_text()
    assert text.startswith("# Mine\n\n| task |")
    assert "](table_lengths.png)" in text
    for name in ("lengths", "map", "cost"):
        assert (folder / f"out/table_{name}.png").stat().st_size > 5_000
    assert not (folder / "out/table_curves.png").exists()  # no result has its validations
    assert "| add | ffattn | 50 |" in capsys.readouterr().out


def test_the_page_has_every_cell_with_its_command_and_every_picture(folder, monkeypatch):
    curves = {"update": [500, 1000], "solved": [0.5, 1.0], "error": [0.1, 0.01]}
    (folder / "a/1/result.json").write_text(json.dumps(result_of() | {"validations": curves}))
    run(monkeypatch, folder, "--title", "<Mine>")
    text = (folder / "report.html").read_text()
    assert "<h1>&lt;Mine&gt;</h1>" in text
    assert "<code>python -m ffattn.train task=add model=ffattn T=50</code>" in text
    assert "<th>paper</th><th>floor</th>" in text
    assert text.count("<img ") == 4


def test_a_directory_that_is_given_twice_counts_once(folder):
    assert len(read_runs([folder, folder / "a"])) == 2


def test_without_matplotlib_the_table_is_written_all_the_same(folder, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    run(monkeypatch, folder)
    assert "](" not in (folder / "report.md").read_text()
    assert not list(folder.glob("*.png"))
    assert "<img" not in (folder / "report.html").read_text()
    assert capsys.readouterr().err == "no pictures: matplotlib is not installed; pip install 'ffattn[pictures]'\n"


def refused(monkeypatch, capsys, *words):
    """What the command says of a mistake."""
    with pytest.raises(SystemExit, match=r"^1$"):
        run(monkeypatch, *words)
    return capsys.readouterr().err


def test_no_results_are_one_line(tmp_path, monkeypatch, capsys):
    assert refused(monkeypatch, capsys, tmp_path) == f"{tmp_path}: no result of a training run is below\n"


def test_a_table_that_cannot_be_written_is_one_line(folder, monkeypatch, capsys):
    (folder / "out").write_text("")
    assert refused(monkeypatch, capsys, folder, "--output", folder / "out/table") == f"{folder / 'out'}: File exists\n"
    (folder / "table.md").mkdir()
    assert (
        refused(monkeypatch, capsys, folder, "--output", folder / "table") == f"{folder / 'table.md'}: Is a directory\n"
    )


def test_a_damaged_result_is_one_line(folder, monkeypatch, capsys):
    (folder / "a/1/result.json").write_text("{")
    assert refused(monkeypatch, capsys, folder).startswith(f"{folder / 'a/1/result.json'}: not a result")
    with pytest.raises(DamagedError):
        read_runs([folder])
