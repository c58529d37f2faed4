"""Curves in a CSV file, with which a resumed run goes on."""

import csv

import pytest
import torch

from ffattn.lightning.loggers.csv_file import CSVFileLogger


def log(folder, rows, update=0):
    logger = CSVFileLogger(folder, update)
    for step, values in rows:
        logger.log_metrics(values, step)
    logger.finalize("success")
    return logger


def read(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_a_column_may_appear_later(tmp_path):
    logger = CSVFileLogger(tmp_path / "run")
    logger.log_metrics({"b": 0.5, "epoch": 0}, 1)
    logger.save()
    logger.log_metrics({"a": torch.tensor(0.25)}, 2)
    logger.save()
    assert read(tmp_path / "run") == [{"b": "0.5", "epoch": "0", "step": "1"}, {"a": "0.25", "step": "2"}]
    assert (tmp_path / "run" / "metrics.csv").read_text().startswith("a,b,epoch,step\n")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_rows_are_written_at_every_hundredth_update_at_the_latest(tmp_path):
    logger = CSVFileLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 98)
    assert not (tmp_path / "metrics.csv").exists()
    logger.log_metrics({"a": 2.0}, 99)
    assert len(read(tmp_path)) == 2


def test_a_resumed_run_drops_what_it_will_log_again(tmp_path):
    log(tmp_path, [(step, {"train/loss": float(step)}) for step in (1, 2, 3)] + [(2, {"test/error": 0.5})])
    log(tmp_path, [(3, {"train/loss": 30.0})], update=2)
    assert [(row["step"], row.get("train/loss")) for row in read(tmp_path)] == [
        ("1", "1.0"),
        ("2", "2.0"),
        ("3", "30.0"),
    ]
    assert not any("test/error" in row for row in read(tmp_path))


@pytest.mark.parametrize("torn", ["3,", "3,0.5", "3,0.5\r"])
def test_a_row_that_a_kill_has_torn_is_dropped(tmp_path, torn):
    log(tmp_path, [(1, {"a": 1.0}), (2, {"a": 2.0})])
    with (tmp_path / "metrics.csv").open("a", newline="") as file:
        file.write(torn)
    log(tmp_path, [(3, {"a": 3.0})], update=9)
    assert [row["step"] for row in read(tmp_path)] == ["1", "2", "3"]


@pytest.mark.parametrize("text", ["", "a,st"])
def test_a_file_without_a_whole_header_is_begun_anew(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    log(tmp_path, [(1, {"a": 1.0})])
    assert read(tmp_path) == [{"a": "1.0", "step": "1"}]


def test_a_file_that_has_vanished_is_begun_anew(tmp_path):
    logger = CSVFileLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 1)
    logger.save()
    (tmp_path / "metrics.csv").unlink()
    logger.log_metrics({"a": 2.0}, 2)
    logger.save()
    assert read(tmp_path) == [{"a": "2.0", "step": "2"}]
