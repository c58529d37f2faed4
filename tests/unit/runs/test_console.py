import math

import pytest
from rich.console import Console

from ffattn.runs.console import metrics_table, print_header, print_result

BASELINE = {"accuracy": 0.1536, "error": 1 / 24}
FINISHED = {
    "val": {"accuracy": 0.9, "error": 0.001, "update": 2000, "baseline": BASELINE},
    "test": {"accuracy": 0.875, "error": 0.0012, "baseline": BASELINE},
    "stopped_because": "updates",
    "updates": 2500,
    "seconds": 12.34,
    "updates_per_second": 202.6,
    "peak_memory_mb": 321.4,
    "settings": {"logger": {"kind": "tensorboard"}},
}


def printed(result, folder):
    console = Console(width=200, record=True)
    print_result(console, result, folder)
    return console.export_text()


def test_the_table_has_both_sets_and_the_baseline(tmp_path):
    text = printed(FINISHED, tmp_path)
    for parts in (("validation", "90.0%", "0.001"), ("test", "87.5%", "0.0012"), ("baseline", "15.4%", "0.0417")):
        assert any(all(part in line for part in parts) for line in text.splitlines()), parts


@pytest.mark.parametrize(
    "part",
    ["after 2,500 updates", "the weights after 2,000 updates", "12.3 s", "202.6 updates/s", "321 MB", "best.ckpt"],
)
def test_the_table_is_followed_by_what_it_took(tmp_path, part):
    assert part in printed(FINISHED, tmp_path)


@pytest.mark.parametrize(("reason", "words"), [("solved", "solved"), ("updates", "most updates")])
def test_it_is_said_why_training_stopped(tmp_path, reason, words):
    line = next(
        line for line in printed(FINISHED | {"stopped_because": reason}, tmp_path).splitlines() if "stopped" in line
    )
    assert words in line


def test_the_tensorboard_command_can_be_pasted_into_a_shell(tmp_path):
    folder = tmp_path / "my runs"
    assert f"tensorboard --logdir '{folder}'" in printed(FINISHED, folder)


def test_scores_that_are_not_finite_are_shown_as_such():
    console = Console(width=100, record=True)
    console.print(metrics_table({"test": {"accuracy": 0.0, "error": math.nan, "baseline": BASELINE}}))
    assert "nan" in console.export_text()


ATTENTION = {"attention_mass": 0.0015, "lift": 7.391, "found": 0.985, "effective_steps": 9876.54, "margin": -0.25}


def test_what_attention_does_is_in_the_table_where_it_was_measured():
    console = Console(width=100, record=True)
    measured = {"accuracy": 1.0, "error": 0.0, "baseline": BASELINE}
    console.print(metrics_table({"validation": measured | ATTENTION, "test": measured | ATTENTION}))
    text = console.export_text()
    assert all(text.count(word) == 2 for word in ("0.15%", "7.39x", "98.5%", "9,876.5", "-0.25"))
    console.print(
        metrics_table({"validation": measured, "test": measured | ATTENTION})
    )  # of a run that went on elsewhere
    assert console.export_text().count("7.39x") == 1
    console.print(metrics_table({"test": measured}))
    assert "margin" not in console.export_text()


def test_a_header_has_a_fact_a_line(capsys):
    print_header(Console(width=20), task="add, T=100", written_to="a/very/long/path/that/is/not/broken")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == ["task", "written"]
    assert lines[1].endswith("a/very/long/path/that/is/not/broken")


def test_a_path_is_printed_as_it_is():
    console = Console(width=200, record=True)
    print_header(console, written_to="/tmp/x[bold]y[/z]")
    assert "/tmp/x[bold]y[/z]" in console.export_text()
