import copy
import json

import pytest

from ffattn.config.errors import DamagedError
from ffattn.runs.result import (
    RESULT,
    percent,
    read_result,
    upgrade_result,
    write_result,
)

FLOOR = {"solved": 0.1536, "error": 1 / 24}
FIRST_FORMAT = {
    "task": "add",
    "updates": 3000,
    "epochs": 3.0,
    "stopped_because": "updates",
    "val": {"solved": 1.0, "error": 0.001, "mass": 0.5, "lift": 2.0, "steps": 3.0, "update": 2000, "floor": FLOOR},
    "test": {"solved": 0.875, "error": 0.0012, "floor": FLOOR},
    "validations": {"update": [1000, 2000, 3000], "solved": [0.5, 1.0, 1.0], "error": [0.1, 0.001, 0.002]},
    "settings": {"trainer": {"stop_when_solved": False}},
}
BASELINE = {"accuracy": 0.1536, "error": 1 / 24}
PRESENT = {
    "format": 2,
    "task": "add",
    "updates": 3000,
    "stopped_because": "updates",
    "val": {
        "accuracy": 1.0,
        "error": 0.001,
        "attention_mass": 0.5,
        "lift": 2.0,
        "effective_steps": 3.0,
        "update": 2000,
        "baseline": BASELINE,
    },
    "test": {"accuracy": 0.875, "error": 0.0012, "baseline": BASELINE},
    "validations": {"update": [1000, 2000, 3000], "accuracy": [0.5, 1.0, 1.0], "error": [0.1, 0.001, 0.002]},
    "settings": {"trainer": {"stop_when_solved": False}},
    "solved": True,
    "updates_to_solve": 2000,
}


def test_a_result_of_the_first_format_gets_the_names_of_the_second(tmp_path):
    before = copy.deepcopy(FIRST_FORMAT)
    assert upgrade_result(FIRST_FORMAT) == PRESENT
    assert before == FIRST_FORMAT
    write_result(tmp_path, FIRST_FORMAT)
    assert read_result(tmp_path) == PRESENT


def test_a_result_of_the_present_format_stays_as_it_is():
    assert upgrade_result(PRESENT) == PRESENT


@pytest.mark.parametrize(
    ("accuracies", "best", "expected"),
    [
        (None, 1.0, (True, 2000)),  # early versions kept no validations: the best one is all that is known
        (None, 0.9, (False, None)),
        ([0.5, 0.9, 0.8], 0.9, (False, None)),
        ([1.0, 1.0, 1.0], 1.0, (True, 1000)),
        ([0.5, 1.0, 0.9], 0.9, (False, 2000)),  # of given data the smallest error is the best
    ],
)
def test_the_updates_to_solve_are_those_of_the_first_validation_with_accuracy_1(accuracies, best, expected):
    result = FIRST_FORMAT | {"val": FIRST_FORMAT["val"] | {"solved": best}}
    result["validations"] = FIRST_FORMAT["validations"] | {"solved": accuracies}
    if accuracies is None:
        del result["validations"]
    upgraded = upgrade_result(result)
    assert (upgraded["solved"], upgraded["updates_to_solve"]) == expected


def test_an_evaluation_of_the_first_format_has_no_training_to_tell_of():
    upgraded = upgrade_result({"val": {"solved": 0.5, "dead": 0.0, "floor": FLOOR}, "settings": {"split": "val"}})
    scores = {"accuracy": 0.5, "dead": 0.0, "baseline": BASELINE}
    assert upgraded == {"format": 2, "val": scores, "settings": {"split": "val"}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a result"),
        ("[]", "not a result"),
        ("{}", "not a result"),
        ('{"settings": {}, "stopped_because": "solved"}', "not a result"),
        ('{"settings": {}, "val": 1}', "not a result"),
        ('{"settings": {}, "format": 3}', "of format 3; this version reads formats 1 to 2"),
    ],
)
def test_a_file_that_is_no_result_is_one_line(tmp_path, text, words):
    (tmp_path / RESULT).write_text(text)
    with pytest.raises(DamagedError, match=words):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("share", "text"), [(1.0, "100.0%"), (0.9996, "99.9%"), (0.9994, "99.9%"), (0.5, "50.0%"), (0.0, "0.0%")]
)
def test_less_than_all_is_never_100_percent(share, text):
    assert percent(share) == text


def test_a_result_is_read_back(tmp_path):
    write_result(tmp_path, PRESENT)
    assert read_result(tmp_path) == PRESENT
    assert [path.name for path in tmp_path.iterdir()] == [RESULT]


def test_a_result_is_json_that_a_person_can_read(tmp_path):
    write_result(tmp_path, PRESENT)
    text = (tmp_path / RESULT).read_text()
    assert json.loads(text) == PRESENT
    assert len(text.splitlines()) > len(PRESENT)


def test_there_is_no_result_before_one_is_written(tmp_path):
    assert read_result(tmp_path) is None


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_result(tmp_path, PRESENT)
    with pytest.raises(TypeError):
        write_result(tmp_path, {"object": object()})
    assert read_result(tmp_path) == PRESENT
