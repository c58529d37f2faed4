import json

import pytest

from ffattn.runs.result import RESULT, read_result, write_result

FINISHED = {"test": {"solved": 0.875, "error": 0.0012}, "stopped_because": "updates", "settings": {"seed": 0}}


def test_a_result_is_read_back(tmp_path):
    write_result(tmp_path, FINISHED)
    assert read_result(tmp_path) == FINISHED
    assert [path.name for path in tmp_path.iterdir()] == [RESULT]


def test_a_result_is_json_that_a_person_can_read(tmp_path):
    write_result(tmp_path, FINISHED)
    text = (tmp_path / RESULT).read_text()
    assert json.loads(text) == FINISHED
    assert len(text.splitlines()) > len(FINISHED)


def test_there_is_no_result_before_one_is_written(tmp_path):
    assert read_result(tmp_path) is None


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_result(tmp_path, FINISHED)
    with pytest.raises(TypeError):
        write_result(tmp_path, {"object": object()})
    assert read_result(tmp_path) == FINISHED
