"""Pictures of tables show the numbers of the results."""

from pathlib import Path

import numpy as np
import pytest

from ffattn.reports.charts import draw_all, draw_cost, draw_curves, draw_lengths, draw_map
from ffattn.reports.table import Run, cells_of


def result_of(task="add", model="ffattn", T=50, *, seed=0, updates=1000, solved=1.0, validations=None):
    floor = {"solved": 0.2, "error": 1.0}
    scores = {"solved": solved, "error": 0.1, "floor": floor}
    length = {"_target_": "ffattn.tasks.Paper", "T": T}
    settings = {"task": {"length": length}, "model": {}, "optim": {"lr": 0.003}, "trainer": {}, "T": T, "seed": seed}
    result = {"task": task, "model": model, "T": T, "seed": seed, "updates": updates, "epochs": updates / 1000}
    result |= {"val": scores, "test": scores, "settings": settings}
    result |= {"updates_per_second": 1000 / T, "peak_memory_mb": 600.0 + T}
    return result | ({"validations": validations} if validations else {})


def cells(*results):
    return cells_of([Run(Path(), result) for result in results])


def curve(*solved):
    return {"update": [100 * (i + 1) for i in range(len(solved))], "solved": solved, "error": [0.0] * len(solved)}


def lines(axes):
    """The data of each line of a picture, by its label."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def test_curves_have_the_median_and_the_band_of_all_seeds():
    runs = (0.2, 0.4, 0.6), (0.3, 1.0), (0.1, 0.2, 0.3)  # the second has ended: it stays where it was
    figure = draw_curves(cells(*(result_of(seed=seed, validations=curve(*run)) for seed, run in enumerate(runs))))
    (axes,) = figure.axes
    assert lines(axes)["ffattn"] == ([100, 200, 300], [0.2, 0.4, 0.6])
    band = axes.collections[0].get_paths()[0].vertices
    assert [(x, band[band[:, 0] == x, 1].min(), band[band[:, 0] == x, 1].max()) for x in (100, 200, 300)] == [
        (100, 0.1, 0.3),
        (200, 0.2, 1.0),
        (300, 0.3, 1.0),
    ]


def test_the_map_is_relative_to_the_floor_and_leaves_gaps():
    figure = draw_map(cells(result_of(solved=0.6), result_of(T=60, solved=0.1), result_of(task="xor", solved=1.0)))
    (image,) = figure.axes[0].images
    assert np.allclose(image.get_array().filled(np.nan), [[0.5, 0], [1, np.nan]], equal_nan=True)
    assert {text.get_text() for text in figure.axes[0].texts} == {"60.0%", "10.0%", "100.0%"}


@pytest.mark.parametrize("draw", [draw_lengths, draw_cost])
def test_few_lengths_are_all_named(draw):
    figure = draw(cells(*(result_of(T=T) for T in (50, 200, 10_000))))
    figure.canvas.draw()
    assert [text.get_text() for text in figure.axes[-1].get_xticklabels()] == ["50", "200", "10,000"]


def test_the_map_has_a_panel_for_each_model():
    made = [result_of(model=model, T=T) for model in ("a", "b", "c", "d", "e") for T in (50, 60)]
    panels = draw_map(cells(*made)).axes[:5]
    assert [axes.get_title() for axes in panels] == ["a", "b", "c", "d", "e"]
    assert all(tick.label1.get_visible() for axes in panels for tick in axes.xaxis.get_major_ticks())


def test_cost_is_the_time_and_memory_of_updates():
    left, right = draw_cost(cells(result_of(), result_of(T=100), result_of(T=100, seed=1))).axes
    assert lines(left)["ffattn"] == ([50, 100], [50, 100])
    assert lines(right)["ffattn"] == ([50, 100], [650, 700])


def test_lengths_have_epochs_and_the_paper_beside_them():
    figure = draw_lengths(cells(result_of(updates=2000), result_of(T=100, updates=4000), result_of(T=5000, solved=0.5)))
    above, below = figure.axes
    assert lines(above)["ffattn, paper"] == ([50, 100, 5000], [1, 1, 2])
    assert lines(below)["ffattn"] == ([50, 100, 5000], [1, 1, 0.5])
    assert next(line.get_ydata().tolist() for line in above.lines if len(line.get_xdata()) == 2) == [2, 4]


@pytest.mark.parametrize("validations", [None, curve(0.5, 1.0)])
def test_every_picture_can_be_drawn_of_one_run(validations):
    figures = draw_all(cells(result_of(validations=validations)))
    assert set(figures) == {"lengths", "map", "cost"} | ({"curves"} if validations else set())
    for figure, caption in figures.values():
        figure.draw_without_rendering()
        assert caption.endswith(".")
