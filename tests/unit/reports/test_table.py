"""Many results in one table, beside the paper's numbers; and the command that writes it."""

import csv
import json

import pytest

from ffattn import report
from ffattn.config.errors import DamagedError
from ffattn.reports.kept import read_runs
from ffattn.reports.paper import Published, published
from ffattn.reports.table import cell_rows, command_of, markdown, run_rows
from ffattn.runs.cells import cells_of
from made_results import cells, curve, result_of


def test_epochs_stand_beside_the_papers_and_nowhere_else():
    known, other = cell_rows(cells(result_of(updates=2500), result_of(T=60, updates=2500)))
    assert (known["epochs"], known["paper (epochs)"]) == ("2.5", "1")
    assert (other["epochs"], other["paper (epochs)"]) == ("", "")
    assert "epochs" not in cell_rows(cells(result_of(T=60)))[0]
    unsolved = cell_rows(cells(result_of(accuracy=0.5, reason="updates")))[0]
    assert "epochs" not in unsolved
    assert unsolved["paper (epochs)"] == "1"


def test_an_accuracy_of_the_paper_has_a_column_of_its_own():
    (row,) = cell_rows(cells(result_of(task="multiply", model="mean", T=10_000, updates=3000)))
    assert row["paper (accuracy)"] == "80.8%"
    assert "epochs" not in row


def test_rates_that_are_missing_are_said_below_the_table():
    assert "- add ffattn 50: seed 1 lacks 0.01." in markdown(
        cells(result_of(0.003, 0), result_of(0.01, 0), result_of(0.003, 1))
    )


def test_the_table_says_where_it_comes_from():
    text = markdown(cells(result_of(), result_of(0.01, reason="raced", accuracy=0.5)))
    assert "2 runs, of which 1 were stopped since another learning rate was better." in text
    assert "Commit: abc." in text
    assert "    python -m ffattn.train task=add\n" in text  # without what is a matter of the machine


def test_a_cells_command_is_its_part_of_the_sweep():
    command = "python -m ffattn.train -m experiment=x T=50,60 model.init=paper,he seed=0,1 hydra.sweep.dir=/x"
    made = [result_of(init="he") | {"command": command.split()}, result_of(T=60) | {"command": []}]
    ours, other = cells(*made)
    assert command_of(ours) == "python -m ffattn.train -m experiment=x task=add model=ffattn T=50 model.init=he"
    assert command_of(other) == ""


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ({"T": 10_000}, Published(epochs=3)),
        ({"T": 10_000, "task": "multiply", "model": "mean"}, Published(accuracy=0.808)),
        ({"T": 60}, Published()),
        ({"task": "xor"}, Published()),
        ({"model": "lstm"}, Published()),
    ],
    ids=str,
)
def test_the_papers_numbers(cell, expected):
    assert published(result_of(**cell)) == expected


def test_the_papers_numbers_for_all_lengths_at_once():
    result = result_of(T=10_000, task="multiply")
    result["settings"]["task"]["length"] = {"_target_": "ffattn.tasks.Variable", "T": 10_000, "min": 50}
    assert published(result) == Published(accuracy=0.994)


@pytest.fixture
def folder(tmp_path):
    """Two runs, an evaluation, and no more."""
    evaluation = {"format": 2, "settings": {}, "test": {}}
    results = {"a/1": result_of(), "a/2": result_of(0.01, updates=2000), "b": evaluation}
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
    assert [(row["lr"], row["updates"], row["solved"], row["updates_to_solve"], row["folder"]) for row in rows] == [
        ("0.003", "1000", "yes", "1000", (folder / "a/1").as_posix()),
        ("0.01", "2000", "yes", "2000", (folder / "a/2").as_posix()),
    ]
    assert rows == [{k: str(v) for k, v in row.items()} for row in run_rows(cells_of(read_runs([folder])))]
    text = (folder / "out/table.md").read_text()
    assert text.startswith("# Mine\n\n| task |")
    assert "](table_lengths.png)" in text
    for name in ("lengths", "map", "cost"):
        assert (folder / f"out/table_{name}.png").stat().st_size > 5_000
    assert not (folder / "out/table_curves.png").exists()  # no result has its validations
    assert "| add | ffattn | 50 |" in capsys.readouterr().out


def test_the_page_has_every_cell_with_its_command_and_every_picture(folder, monkeypatch):
    (folder / "a/1/result.json").write_text(json.dumps(result_of(validations=curve(0.5, 1.0))))
    run(monkeypatch, folder, "--title", "<Mine>")
    text = (folder / "report.html").read_text()
    assert "<h1>&lt;Mine&gt;</h1>" in text
    assert "<code>python -m ffattn.train task=add model=ffattn T=50</code>" in text
    assert "<th>paper (epochs)</th><th>baseline</th>" in text
    assert text.count("<img ") == 4


def test_a_page_of_results_without_commands_has_no_column_for_them(folder, monkeypatch):
    (folder / "a/2/result.json").unlink()
    (folder / "a/1/result.json").write_text(json.dumps(result_of() | {"command": []}))
    run(monkeypatch, folder)
    assert "<th>command</th>" not in (folder / "report.html").read_text()


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
