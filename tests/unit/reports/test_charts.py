"""Pictures of tables show the numbers of the results."""

import numpy as np
import pytest

from ffattn.reports.charts import draw_all, draw_cost, draw_curves, draw_lengths, draw_map
from made_results import cells, curve, result_of


def lines(axes):
    """The data of each line of a picture, by its label."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def bars(axes, label):
    """Lengths, medians, smallest and largest values of what is drawn with bars."""
    (found,) = (container for container in axes.containers if container.get_label() == label)
    line, _, (ranges,) = found
    ends = np.array(ranges.get_segments())
    return [*(data.tolist() for data in line.get_data()), ends[:, 0, 1].tolist(), ends[:, 1, 1].tolist()]


def test_curves_have_the_median_and_the_band_of_all_seeds():
    runs = (0.2, 0.4, 0.6), (0.3, 1.0), (0.1, 0.2, 0.3)  # the second has ended: it stays where it was
    made = (result_of(seed=seed, accuracy=0.5, validations=curve(*run)) for seed, run in enumerate(runs))
    (axes,) = draw_curves(cells(*made)).axes
    assert lines(axes)["ffattn"] == ([100, 200, 300], [0.2, 0.4, 0.6])
    band = axes.collections[0].get_paths()[0].vertices
    assert [(x, band[band[:, 0] == x, 1].min(), band[band[:, 0] == x, 1].max()) for x in (100, 200, 300)] == [
        (100, 0.1, 0.3),
        (200, 0.2, 1.0),
        (300, 0.3, 1.0),
    ]


def test_the_map_is_relative_to_the_baseline_and_leaves_gaps():
    made = {"accuracy": 0.6}, {"T": 60, "accuracy": 0.1}, {"task": "xor", "test_accuracy": 0.9996}
    figure = draw_map(cells(*(result_of(baseline=0.2, **one) for one in made)))
    (image,) = figure.axes[0].images
    assert np.allclose(image.get_array().filled(np.nan), [[0.5, 0], [0.9995, np.nan]], equal_nan=True)
    assert {text.get_text() for text in figure.axes[0].texts} == {"60.0%", "10.0%", "99.9%"}


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


def test_lengths_have_updates_to_solve_and_accuracy_with_the_paper_beside_them():
    unsolved = result_of(T=5000, accuracy=0.5, reason="updates")
    made = [result_of(updates=2000), result_of(T=100, updates=4000), unsolved, result_of(T=100, seed=1, updates=1000)]
    above, below = draw_lengths(cells(*made)).axes
    assert lines(above)["ffattn, paper"] == ([50, 100, 5000], [1000, 1000, 2000])
    assert bars(above, "ffattn") == [[50, 100], [2000, 2500], [2000, 1000], [2000, 4000]]
    assert bars(below, "ffattn") == [[50, 100, 5000], [1, 1, 0.5], [1, 1, 0.5], [1, 1, 0.5]]
    assert lines(below)["constant baseline"][1] == [0.1536, 0.1536]


@pytest.mark.parametrize("validations", [None, curve(0.5, 1.0)])
def test_every_picture_can_be_drawn_of_one_run(validations):
    figures = draw_all(cells(result_of(validations=validations)))
    assert set(figures) == {"lengths", "map", "cost"} | ({"curves"} if validations else set())
    for figure, caption in figures.values():
        figure.draw_without_rendering()
        assert caption.endswith(".")
