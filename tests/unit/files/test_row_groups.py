"""A file in pieces has the sequences of the file read whole, wherever its row groups end."""

import numpy as np
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, open_pieces, read_sequences

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LENGTHS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
IDS = [f"plant {i}" for i in (7, 3, 9, 0, 1, 8, 4, 2, 6, 5)]


def long_form():
    """A row for each step; times fall within each sequence."""
    numbers, steps = np.random.default_rng(0), sum(LENGTHS)
    return {
        "id": np.repeat(IDS, LENGTHS),
        "day": np.concatenate([np.arange(length)[::-1] for length in LENGTHS]),
        "kind": numbers.choice(["a", "b"], steps),
        "temp": numbers.normal(size=steps),
        "load": np.repeat(np.arange(len(LENGTHS)) / 4, LENGTHS),
    }


FORMS = {
    "long": (long_form(), Layout("id", None, (), ("load",))),
    "by time": (long_form(), Layout("id", "day", ("temp", "kind"), ("load",))),
    "lists": ({"x": [[0.5] * n for n in LENGTHS], "y": range(10)}, Layout(None, None, (), ("y",))),
    "wide": ({"a_0": np.arange(10.0), "a_1": [None, 1.0] * 5, "y": range(10)}, Layout(None, None, (), ("y",))),
    "texts": ({"text": ["one two", "three"] * 5, "y": range(10)}, Layout(None, None, (), ("y",))),
}


@pytest.fixture
def write(tmp_path):
    def write(columns, rows):
        parquet.write_table(
            pa.table({name: list(c) for name, c in columns.items()}), tmp_path / "f", row_group_size=rows
        )
        return tmp_path / "f"

    return write


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request):
    return request.param


@pytest.mark.parametrize("rows", [1, 4, 7, 1000])
def test_pieces_put_together_are_the_file(form, rows, write, monkeypatch):
    path, layout = write(form[0], rows), form[1]
    monkeypatch.setattr(
        "ffattn.files.reading.read_table", lambda path, texts: parquet.read_table(path)
    )  # whatever it is called
    whole, pieces = read_sequences(path, layout), open_pieces(path, layout)
    parts = list(pieces)
    assert [pieces.read(piece).ids.tolist() for piece in range(len(parts))] == [part.ids.tolist() for part in parts]
    assert np.concatenate([part.ids for part in parts]).tolist() == whole.ids.tolist() == pieces.index.ids.tolist()
    assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
    assert (
        np.concatenate([part.lengths for part in parts]).tolist() == whole.lengths.tolist() == pieces.lengths.tolist()
    )
    assert pieces.counts.tolist() == [len(part) for part in parts]
    for name, column in whole.features.items():
        assert np.concatenate([part.features[name] for part in parts]).tolist() == column.tolist()
    for name, column in whole.columns.items():
        assert pieces.index.columns[name].tolist() == column.tolist()
    assert all(part.used == whole.used for part in parts)


def test_a_sequence_that_comes_again_is_refused(write):
    columns = {"id": [1, 1, 2, 3, 1], "x": range(5), "y": [0] * 5}
    with pytest.raises(DataError, match=r", row 5, column id: 1 again, after other sequences; .* sorted by id$"):
        open_pieces(write(columns, 2), Layout("id", None, (), ("y",)))


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"id": ["a", "b", "b", None], "x": range(4), "y": [0] * 4}, "row 4, column id: no id"),
        (
            {"id": ["a", "b", "b", "b"], "x": range(4), "y": [0, 1, 1, 2]},
            "row 4, column y: 2, and 1 in another row",
        ),
        ({"name": ["a"] * 4, "x": range(4), "y": [0] * 4}, "has no column id; it has name, x, y"),
        ({"id": ["a"] * 4, "x": range(4)}, "has no column y"),
    ],
)
def test_mistakes_are_named_by_the_row_of_the_file(columns, line, write):
    with pytest.raises(DataError, match=line):
        open_pieces(write(columns, 2), Layout("id", None, (), ("y",)))


def test_a_list_without_steps_is_named_by_its_row(write):
    with pytest.raises(DataError, match="row 3: a sequence of no steps"):
        open_pieces(write({"x": [[1.0], [2.0], [], [3.0]], "y": range(4)}, 2), Layout(None, None, (), ("y",)))
