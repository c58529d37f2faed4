"""What several runs come to over their seeds: hand-made runs, whose medians can be computed in the head."""

import pytest

from ffattn.runs.cells import spread_of, whole_number
from made_results import cells, result_of


def only_row(*results):
    (cell,) = cells(*results)
    return cell.row()


@pytest.mark.parametrize(
    ("values", "text"),
    [((3,), "3 (n=1)"), ((2, 2), "2 (n=2)"), ((5, 1, 2), "2 (1-5, n=3)"), ((1000, 2000), "1,500 (1,000-2,000, n=2)")],
)
def test_a_spread_is_the_median_and_the_range_where_there_is_one(values, text):
    assert spread_of(values).text(whole_number, with_seeds=True) == text


def test_of_each_seeds_rates_the_one_with_the_fewest_updates_counts():
    row = only_row(
        result_of(0.003, 0, 4000),
        result_of(0.01, 0, 2000),
        result_of(0.001, 0, 2000, 0.9, "raced"),
        result_of(0.003, 1, 5000),
        result_of(0.01, 1, 9000, 0.99, "raced"),
        result_of(0.01, 2, 3000),
    )
    assert (row["seeds solved"], row["updates to solve"]) == ("3/3", "3,000 (2,000-5,000, n=3)")
    assert (row["best rates"], row["accuracy"], row["baseline"]) == ("0.003, 0.01", "100.0%", "15.4%")
    assert (row["updates"], row["updates, all rates"]) == ("3,000 (2,000-5,000)", "25,000")
    assert (row["seconds"], row["seconds, all rates"]) == ("30 (20-50)", "250")


def test_of_rates_as_quick_as_each_other_the_smaller_error_counts():
    row = only_row(result_of(0.003, error=0.2, test_accuracy=0.5), result_of(0.01, error=0.1, test_accuracy=0.25))
    assert (row["best rates"], row["accuracy"]) == ("0.01", "25.0%")


def test_updates_to_solve_end_at_the_first_validation_with_accuracy_1_and_updates_do_not():
    row = only_row(result_of(updates=300, reason="updates", to_solve=200), result_of(0.01, updates=250, to_solve=250))
    assert (row["updates to solve"], row["updates"], row["best rates"]) == ("200 (n=1)", "300", "0.003")


def test_accuracy_is_that_of_all_seeds_whether_they_solved_the_task_or_not():
    row = only_row(
        result_of(0.003, 0, 100_000, 0.95, "updates"),
        result_of(0.01, 0, 100_000, 0.9, "updates"),
        result_of(0.003, 1, 7000, test_accuracy=0.9999),
        result_of(0.003, 2, 100_000, 0.75, "updates"),
    )
    assert row["accuracy"] == "95.0% (75.0%-99.9%)"
    assert (row["seeds solved"], row["updates to solve"]) == ("1/3", "7,000 (n=1)")
    assert row["updates"] == "100,000 (7,000-100,000)"


def test_what_no_seed_solved_has_no_updates_to_solve():
    row = only_row(result_of(accuracy=0.5, reason="updates"))
    assert (row["seeds solved"], row["updates to solve"]) == ("0/1", "")


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
    assert [(cell.task, cell.model, cell.length, cell.variant) for cell in found] == [
        ("add", "ffattn", 50, ""),
        ("add", "ffattn", 100, ""),
        ("add", "mean", 50, ""),
        ("multiply", "ffattn", 50, ""),
    ]


def test_rates_that_are_missing_are_said():
    (cell,) = cells(result_of(0.003, 0), result_of(0.01, 0), result_of(0.003, 1))
    assert cell.gaps() == "seed 1 lacks 0.01"
