"""Which validation is the best, and when training ends."""

from types import SimpleNamespace

import pytest

from ffattn.lightning.callbacks.stopping import StopRule
from ffattn.lightning.callbacks.validations import Validations


def made(scores, by_error=False):
    """Validations of (accuracy, error) after one update, two, ..., and which of them was the best so far."""
    validations = Validations(by_error)
    best = []
    for update, (accuracy, error) in enumerate(scores, start=1):
        best.append(validations.add({"accuracy": accuracy, "error": error, "update": update}))
    return validations, best


@pytest.mark.parametrize(
    ("by_error", "expected"), [(False, [True, True, False, False]), (True, [True, False, True, True])]
)
def test_the_best_has_the_highest_accuracy_or_for_given_data_the_smallest_error(by_error, expected):
    validations, best = made([(0.1, 0.5), (0.2, 0.9), (0.1, 0.4), (0.1, 0.3)], by_error)
    assert best == expected
    assert validations.best["update"] == max(update for update, is_best in enumerate(best, start=1) if is_best)
    assert validations.history["update"] == [1, 2, 3, 4]


def test_they_go_on_where_a_checkpoint_was():
    first, _ = made([(0.1, 0.5), (0.2, 0.9)])
    again = Validations()
    again.restore({"best": first.best, "history": first.history})
    assert not again.add({"accuracy": 0.2, "error": 0.95, "update": 3})
    assert (again.best["update"], again.since_best) == (2, 1)
    assert first.history["update"] == [1, 2]  # the checkpoint's own are left alone


def test_a_checkpoint_of_a_version_without_history_has_a_best():
    again = Validations()
    again.restore({"best": {"accuracy": 0.9, "error": 0.1, "update": 5}})
    assert not again.add({"accuracy": 0.8, "error": 0.1, "update": 10})
    assert again.since_best == 1


def reason(rule, scores, update=None, first=None):
    """Why training ends after some validations; the first process may have looked at another moment."""
    strategy = SimpleNamespace(broadcast=lambda limit: limit if first is None else first)
    trainer = SimpleNamespace(global_step=update or len(scores), strategy=strategy)
    return rule.reason(trainer, made(scores)[0])


HALF = (0.5, 0.1)
ALL = (1.0, 0.0)


@pytest.mark.parametrize(
    ("rule", "scores", "expected"),
    [
        (StopRule(9), [HALF], None),
        (StopRule(9), [HALF, ALL], "solved"),
        (StopRule(9, when_solved=False), [HALF, ALL], None),
        (StopRule(2), [HALF, HALF], "updates"),
        (StopRule(2), [HALF, ALL], "solved"),
        (StopRule(9, patience=2), [HALF, HALF], None),
        (StopRule(9, patience=2), [HALF, HALF, HALF], "patience"),
        (StopRule(9, patience=1), [HALF, (0.6, 0.1)], None),
        (StopRule(3, patience=2), [HALF, HALF, HALF], "updates"),
        (StopRule(9, to_beat=lambda: None), [HALF], None),
        (StopRule(9, to_beat=lambda: 3), [HALF, HALF], None),
        (StopRule(9, to_beat=lambda: 2), [HALF, HALF], "raced"),
        (StopRule(2, to_beat=lambda: 2), [HALF, HALF], "raced"),
        (StopRule(2, to_beat=lambda: 2), [HALF, ALL], "solved"),
    ],
)
def test_training_ends_for_one_reason(rule, scores, expected):
    assert reason(rule, scores) == expected


def test_the_first_process_decides_whether_a_run_is_beaten():
    assert reason(StopRule(9, to_beat=lambda: None), [HALF], first=1) == "raced"
