"""Answers are written row by row, and a half-written file is gone on with."""

import csv
import json

import pytest

from ffattn.files import Preparation, Target
from ffattn.inference.output_files import OutputFile

ROWS = [{"id": "a", "y": 0.5, "problem": ""}, {"id": 'b"\nc', "y": None, "problem": "no steps"}]


def output_of(path):
    return OutputFile(path, Preparation((), (Target("y"),)))


def write(output, rows):
    with output.writer() as write:
        for row in rows:
            write(row)


@pytest.mark.parametrize(
    ("torn", "kept"), [('i,j\na,1\n"b\n', 1), ('i,j\na,1\n"b\nc",2\n', 2), ("i,j\n", 0), ("i,", 0)]
)
def test_rows_of_csv_end_where_their_quotes_do(tmp_path, torn, kept):
    output = output_of(tmp_path / "answers.csv")
    (tmp_path / "answers.csv.part").write_text(torn)
    (tmp_path / "answers.csv.part.json").write_text("{}")
    assert output.resume({}) == kept
    assert len(list(csv.reader(output.part.read_text().splitlines(keepends=True)))) == (kept + 1 if kept else 0)


@pytest.mark.parametrize("stop", [0, 1, 2])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_file_gone_on_with_is_the_file_written_at_once(tmp_path, suffix, stop):
    whole, parts = (output_of(tmp_path / f"{name}{suffix}") for name in ("whole", "parts"))
    assert whole.resume({}) == parts.resume({}) == 0
    write(whole, ROWS)
    write(parts, ROWS[:stop])
    assert parts.resume({}) == stop
    write(parts, ROWS[stop:])
    whole.finish()
    parts.finish()
    assert parts.path.read_bytes() == whole.path.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([whole.path, parts.path])


def test_rows_for_another_input_are_not_gone_on_with(tmp_path):
    output = output_of(tmp_path / "answers.jsonl")
    output.resume({"input": 1})
    write(output, ROWS)
    assert output.resume({"input": 2}) == 0
    assert not output.part.exists()
    assert json.loads(output.note.read_text()) == {"input": 2}


def test_nothing_lies_at_the_output_until_all_rows_are_there(tmp_path):
    output = output_of(tmp_path / "answers.csv")
    output.resume({})
    write(output, ROWS)
    assert not output.path.exists()
    output.finish()
    with output.path.open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in ROWS]
