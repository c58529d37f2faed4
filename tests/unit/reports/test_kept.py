"""Kept results are read as the run directories are that they were made of."""

import json
import math

import pytest

from ffattn.config.errors import DamagedError
from ffattn.reports.kept import directory_of, read_kept, read_runs, write_kept
from ffattn.reports.table import markdown, run_rows
from ffattn.runs.cells import FinishedRun, cells_of
from made_results import curve, result_of
from scripts.results.keep_results import keep, main

FIRST_FORMAT = {
    "task": "add",
    "model": "ffattn",
    "T": 50,
    "seed": 7,
    "updates": 100,
    "epochs": 0.1,
    "stopped_because": "solved",
    "val": {"solved": 1.0, "error": 0.1, "update": 100, "floor": {"solved": 0.2, "error": 1.0}},
    "test": {"solved": 0.9, "error": 0.1, "floor": {"solved": 0.2, "error": 1.0}},
    "command": ["python", "-m", "ffattn.train", "hydra.sweep.dir=/x/y", "seed=7"],
    "settings": {"task": {}, "model": {}, "optim": {"lr": 0.1}, "trainer": {}},
}


def put(folder, result):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result, indent=2))


@pytest.fixture
def runs(tmp_path):
    """Run directories of several depths, and an evaluation."""
    put(tmp_path / "runs/b/T50/lr0.01", result_of(0.01, validations=curve(0.5, 1.0)))
    put(tmp_path / "runs/b/T50/lr0.003", result_of(error=math.nan))
    put(tmp_path / "runs/a", result_of(task="multiply", accuracy=0.25, reason="updates"))
    put(tmp_path / "runs/c", {"format": 2, "settings": {}, "test": {}})
    return tmp_path / "runs"


def texts(folder, found):
    """What a report is made of, with folders as they are below a directory."""
    moved = [FinishedRun(run.folder.relative_to(folder), run.result) for run in found]
    return markdown(cells_of(moved)), str(list(run_rows(cells_of(moved))))


def test_a_file_has_a_line_for_each_run_sorted(runs):
    file = runs / "kept.jsonl"
    keep([runs], file)
    lines = file.read_text().splitlines()
    assert [json.loads(line)["folder"] for line in lines] == ["a", "b/T50/lr0.003", "b/T50/lr0.01"]
    assert all(line.startswith('{"folder":"') for line in lines)


def test_a_report_of_kept_results_is_that_of_their_directories(runs):
    file = runs.parent / "kept.jsonl"
    assert keep([runs], file) == 3
    expected = texts(runs, read_runs([runs]))
    assert texts(directory_of(file), read_runs([file])) == texts(directory_of(file), read_kept(file))
    kept = texts(directory_of(file), read_runs([file]))
    assert [text.replace(", 'hydra.sweep.dir=/x/y'", "") for text in expected] == list(kept)


def test_a_directory_may_hold_both_and_a_run_in_both_counts_once(runs):
    keep([runs], runs.parent / "runs.jsonl")
    put(runs / "b/T50/lr0.01", result_of(0.01, updates=5000))
    put(runs / "new", result_of(seed=1))
    found = read_runs([runs.parent])
    assert [run.folder.relative_to(runs).as_posix() for run in found] == ["a", "b/T50/lr0.003", "b/T50/lr0.01", "new"]
    assert found[2].result["updates"] == 5000  # the directory's own, which may have gone on


def test_a_path_that_is_given_twice_counts_once(runs):
    file = runs.parent / "kept.jsonl"
    keep([runs], file)
    assert len(read_runs([runs, runs / "b"])) == 3
    assert len(read_runs([file, file])) == 3


def test_other_files_of_the_suffix_are_left_alone(runs):
    for name, text in (("answers.jsonl", '{"id": 1, "folder": "x"}\n'), ("empty.jsonl", "")):
        (runs / name).write_text(text)
    assert len(read_runs([runs])) == 3
    with pytest.raises(DamagedError, match=r"answers.jsonl, line 1: not a result, or a damaged one$"):
        read_runs([runs / "answers.jsonl"])


@pytest.mark.parametrize("line", ['{"folder":"x"', '{"folder":"x"}', '{"folder":"x","format":2}', "\N{MINUS SIGN}"])
def test_a_damaged_line_is_named(runs, line):
    file = runs.parent / "kept.jsonl"
    keep([runs], file)
    with file.open("a") as opened:
        opened.write(line)
    with pytest.raises(DamagedError, match=r"kept.jsonl, line 4: not a result"):
        read_runs([file.parent])


def test_runs_are_added_in_the_place_of_the_same_and_without_names_of_places(runs, tmp_path):
    file = tmp_path / "kept.jsonl"
    keep([runs], file)
    put(tmp_path / "more/b/T50/lr0.01", result_of(0.01, updates=5000))
    put(tmp_path / "more/d", FIRST_FORMAT)
    assert keep([tmp_path / "more"], file) == 4
    found = {run.folder.relative_to(tmp_path / "kept").as_posix(): run.result for run in read_kept(file)}
    assert list(found) == ["a", "b/T50/lr0.003", "b/T50/lr0.01", "d"]
    assert found["b/T50/lr0.01"]["updates"] == 5000
    assert (found["d"]["format"], found["d"]["test"]["accuracy"], found["d"]["updates_to_solve"]) == (2, 0.9, 100)
    assert found["d"]["command"] == ["python", "-m", "ffattn.train", "seed=7"]


def test_a_file_is_rewritten_sorted_and_in_the_present_format(tmp_path, monkeypatch, capsys):
    file = tmp_path / "kept.jsonl"
    lines = [json.dumps({"folder": name, **FIRST_FORMAT}) for name in ("b", "a")]
    file.write_text("\n".join(lines))
    monkeypatch.setattr("sys.argv", ["keep_results", str(file)])
    main()
    first = file.read_bytes()
    assert [run.folder.name for run in read_kept(file)] == ["a", "b"]
    assert all(json.loads(line)["format"] == 2 for line in first.splitlines())
    main()
    assert file.read_bytes() == first
    assert capsys.readouterr().out == f"{file}: 2 runs\n" * 2


def test_the_runs_of_a_directory_need_one_file_to_be_added_to(runs, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["keep_results", str(runs)])
    with pytest.raises(SystemExit, match=r"^2$"):
        main()
    assert "name one .jsonl file" in capsys.readouterr().err


def test_a_kept_file_is_sorted_whatever_order_it_is_given(tmp_path):
    runs = [FinishedRun(tmp_path / "kept" / name, result_of()) for name in "bca"]
    write_kept(tmp_path / "kept.jsonl", runs)
    assert [run.folder.name for run in read_kept(tmp_path / "kept.jsonl")] == ["a", "b", "c"]
