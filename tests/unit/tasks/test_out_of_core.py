"""Sequences that are read when they are needed are those that lie in memory, and each piece is read once in a pass."""

import numpy as np
import pytest
import torch

from ffattn.errors import DataError, SettingError
from ffattn.files import ParquetPieces
from ffattn.rng.streams import Split, Stream
from ffattn.tasks import File

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
COUNT, OPTIONS = 60, {"target": "y", "id": "id"}


@pytest.fixture
def columns():
    numbers, lengths = np.random.default_rng(1), np.arange(COUNT) % 5 + 1
    return {
        "id": np.repeat(np.arange(COUNT), lengths),
        "kind": numbers.choice(["p", "q", "r"], lengths.sum()).astype(object),
        "x": numbers.normal(3, 2, lengths.sum()),
        "y": np.repeat(numbers.normal(size=COUNT), lengths),
    }


@pytest.fixture
def write(tmp_path, columns):
    def write(rows=23):
        path = tmp_path / "data.parquet"
        parquet.write_table(pa.table(columns), path, row_group_size=rows)
        return str(path)

    return write


@pytest.mark.parametrize("window", [1, 3, 100])
@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("part", [(0, 1), (1, 2)])
def test_batches_are_those_of_the_whole_file(write, window, split, part):
    path = write()
    whole, streamed = (File(path=path, window=size, **OPTIONS).given(split) for size in (None, window))
    assert torch.equal(streamed.y, whole.y)
    places = torch.randperm(len(whole))[:7]
    for column, twin in zip(streamed.batch(places, part), whole.batch(places, part), strict=True):
        torch.testing.assert_close(column, twin)


def test_the_preparation_is_that_of_the_whole_file(write):
    path = write()
    whole, streamed = (File(path=path, window=size, **OPTIONS) for size in (None, 2))
    for feature, twin in zip(streamed.preparation.features, whole.preparation.features, strict=True):
        assert (feature.name, feature.kind, feature.values) == (twin.name, twin.kind, twin.values)
        assert (feature.mean, feature.scale) == pytest.approx((twin.mean, twin.scale), rel=1e-12)
    assert streamed.preparation.targets == whole.preparation.targets
    assert streamed.length.T == whole.length.T == 5


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_pass_has_every_sequence_once_and_reads_every_piece_once(write, window, monkeypatch):
    task, read, loads = File(path=write(), window=window, **OPTIONS), ParquetPieces.read, []
    given = task.on(torch.device("cpu"), Split.TRAIN)
    pieces = set(given.pieces.tolist())
    monkeypatch.setattr(ParquetPieces, "read", lambda self, piece: loads.append(piece) or read(self, piece))
    size, seen = len(given), []
    for number in range(size):
        seen += [given.order(3, number // size)[number % size].item()]
        task.training_batch(Stream(3, Split.TRAIN), 0, torch.tensor([number]))
    assert sorted(seen) == list(range(size))
    assert sorted(loads) == sorted(pieces)
    assert len(pieces) > 3


def test_passes_and_seeds_have_orders_of_their_own(write):
    given = File(path=write(), window=2, **OPTIONS).given(Split.TRAIN)
    orders = [tuple(given.order(seed, number)) for seed in (0, 1) for number in (0, 1)]
    assert len(set(orders)) == 4


def test_sequences_of_different_pieces_are_mixed_within_the_window(write):
    given = File(path=write(), window=100, **OPTIONS).given(Split.TRAIN)
    assert len(set(given.pieces[given.order(0, 0)[:8]].tolist())) > 2


def test_a_value_is_named_by_its_row(write, columns):
    columns["x"][150] = np.inf
    with pytest.raises(DataError, match="row 151, column x: inf is not finite"):
        File(path=write(), window=1, **OPTIONS).given(Split.TRAIN)


def test_words_among_numbers_are_found_wherever_they_stand(write, columns):
    columns["x"] = columns["x"].astype(str).astype(object)
    columns["x"][150] = "broken"
    with pytest.raises(DataError, match="row 151, column x: 'broken' is no number, as most values of the column are"):
        File(path=write(), window=1, **OPTIONS).given(Split.TRAIN)


def test_other_files_are_not_read_in_pieces():
    with pytest.raises(SettingError, match="window=2: only Parquet files are read in pieces"):
        File(path="data.csv", window=2, **OPTIONS)
