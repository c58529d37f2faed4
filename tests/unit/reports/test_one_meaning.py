"""A sweep's tables, a report's table and its pictures say the same of the same runs."""

import csv
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from test_charts import bars, lines

from ffattn.reports.charts import draw_curves, draw_lengths, draw_map
from ffattn.reports.kept import read_runs
from ffattn.reports.table import cell_rows
from ffattn.runs.cells import cells_of
from ffattn.runs.outcomes import finish
from ffattn.runs.result import percent, write_result
from made_results import curve, result_of

TASK = "add"  # a length that the paper does not have
MODEL = "ffattn"
T = 60


def made(seed, *accuracies, T=T):
    """A run whose test has the accuracy of its best validation."""
    best = max(accuracies)
    solved = 100 * (accuracies.index(best) + 1) if best == 1 else None
    updates = 100 * len(accuracies)
    reason = "solved" if solved == updates else "updates"
    return result_of(
        0.003, seed, updates, best, reason, to_solve=solved, validations=curve(*accuracies), task=TASK, model=MODEL, T=T
    )


def swept(root, results):
    """The table that a sweep of some runs writes at its end, and the lines that it prints."""
    folders = {root / f"job{number}": None for number, _ in enumerate(results)}
    for folder, result in zip(folders, results, strict=True):
        folder.mkdir()
        write_result(folder, result)
    printed = StringIO()
    with redirect_stdout(printed):
        assert finish(root, folders) == 0
    with (root / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file)), printed.getvalue().splitlines()


def words_of(lines, first):
    """What stands in the rows of a table on the screen whose first cell begins in some way, word by word."""
    return [line.split() for line in lines if line.startswith(first)]


def expected_row(jobs):
    """A report's row of some jobs of a sweep, one for each seed, made from the sweep's own table."""
    accuracies = [float(job["accuracy"]) for job in jobs]
    solved = [int(job["updates_to_solve"]) for job in jobs if job["solved"] == "yes"]
    return {
        "accuracy": _text(accuracies, percent),
        "seeds solved": f"{len(solved)}/{len(jobs)}",
        "updates to solve": _text(solved, "{:,.0f}".format, f"n={len(solved)}") if solved else "",
        "baseline": percent(float(jobs[0]["baseline"])),
        "updates": _text([int(job["updates"]) for job in jobs], "{:,.0f}".format),
        "seconds": _text([float(job["seconds"]) for job in jobs], "{:,.0f}".format),
    }


def _text(values, write, count=""):
    low = write(min(values))
    high = write(max(values))
    beside = ", ".join(filter(None, (f"{low}-{high}" if low != high else "", count)))
    return write(median(values)) + (f" ({beside})" if beside else "")


def agree(root, results):
    """Check everything that is said of one cell's runs, one for each seed; returns the report's row."""
    jobs, printed = swept(root, results)
    cells = cells_of(read_runs([root]))
    (row,) = cell_rows(cells)
    assert {"updates to solve": "", **row}.items() >= expected_row(jobs).items()
    if len(results) > 1:
        shown = [row.get(name, "") for name in ("task", "model", "T", "accuracy", "seeds solved", "updates to solve")]
        assert words_of(printed, TASK) == [" ".join(shown).split()]
    middle = cells[0].accuracy()
    above, below = draw_lengths(cells).axes
    assert_allclose(bars(below, MODEL), [[T], [middle.median], [middle.low], [middle.high]], atol=1e-12)
    if (updates := cells[0].updates_to_solve()) is not None:
        assert_allclose(bars(above, MODEL), [[T], [updates.median], [updates.low], [updates.high]])
    (label,) = draw_map(cells).axes[0].texts
    assert label.get_text() == percent(middle.median) == row["accuracy"].partition(" ")[0]
    return row, draw_curves(cells).axes[0]


def test_three_seeds_of_which_one_solved(tmp_path):
    row, curves = agree(tmp_path, [made(0, 0.5, 1.0), made(1, 0.5, 0.996, 0.996), made(2, 0.5, 0.992)])
    assert row["accuracy"] == "99.6% (99.2%-100.0%)"
    assert (row["seeds solved"], row["updates to solve"]) == ("1/3", "200 (n=1)")
    assert lines(curves)[MODEL][1][-1] == 0.996


def test_seeds_whose_mean_is_not_their_median(tmp_path):
    row, curves = agree(tmp_path, [made(0, 0.465), made(1, 0.1, 0.47), made(2, 0.331)])
    assert row["accuracy"] == "46.5% (33.1%-47.0%)"  # the mean is 42.2 %
    assert lines(curves)[MODEL][1][-1] == 0.465


def test_the_table_on_the_screen_has_the_numbers_of_the_file(tmp_path):
    jobs, printed = swept(tmp_path, [made(0, 0.5, 1.0, 0.9), made(1, 0.9996)])
    assert [job["job"] for job in jobs] == ["job0", "job1"]
    assert words_of(printed, "job")[1:] == [
        ["job0", "done", "100.0%", "15.4%", "yes", "200", "300", "3.0"],
        ["job1", "done", "99.9%", "15.4%", "no", "100", "1.0"],
    ]
    assert words_of(printed, TASK) == [["add", "ffattn", "60", "99.9%", "(99.9%-100.0%)", "1/2", "200", "(n=1)"]]


def test_a_sweep_of_one_seed_has_no_table_over_seeds(tmp_path):
    _, printed = swept(tmp_path, [made(0, 1.0), made(0, 1.0, T=70)])
    assert words_of(printed, TASK) == []


ACCURACY = st.one_of(st.just(1.0), st.floats(0, 1), st.sampled_from([0.9996, 0.99949, 0.9995]))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(ACCURACY, min_size=1, max_size=4), min_size=1, max_size=5))
def test_any_runs(validations):
    with TemporaryDirectory() as folder:
        row, curves = agree(Path(folder), [made(seed, *known) for seed, known in enumerate(validations)])
    last = median(known[-1] for known in validations)
    assert lines(curves)[MODEL][1][-1] == last
    if all(known[-1] == max(known) for known in validations):  # then tests have what curves end at
        assert percent(last) == row["accuracy"].partition(" ")[0]
