"""Long series are cut into windows: by hand in pandas, and no step is in two parts."""

import numpy as np
import pandas as pd
import pytest

from ffattn.errors import DataError
from ffattn.files.splits import TEST, TRAIN, VAL
from ffattn.inference.on_files import read_inputs
from ffattn.rng.streams import Split
from ffattn.tasks import File

RANDOM = np.random.default_rng(2)


def series(lengths):
    rows = [(f"p{i}", t, *RANDOM.normal(size=2)) for i, length in enumerate(lengths) for t in range(length)]
    return pd.DataFrame(rows, columns=["pump", "t", "x", "y"])


def by_hand(frame, steps, stride):
    """Each window as a table, with its name."""
    for name, rows in frame.sort_values("t").groupby("pump", sort=False):
        for first in range(0, len(rows) - steps + 1, stride):
            yield f"{name}:{first + 1}-{first + steps}", rows.iloc[first : first + steps]


@pytest.mark.parametrize(("steps", "stride"), [(10, None), (10, 5), (7, 10), (3, 1)])
def test_windows_are_those_that_are_cut_by_hand(tmp_path, steps, stride):
    frame = series([120, 97])
    frame.sample(frac=1, random_state=0).sort_values("pump", kind="stable").to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), target="y", id="pump", time="t", window_steps=steps, stride=stride)
    expected = list(by_hand(frame, steps, stride or steps))
    raw = next(iter(read_inputs(tmp_path / "d.csv", task).pieces))
    assert raw.ids.tolist() == [name for name, _ in expected]
    np.testing.assert_array_equal(raw.features["x"], np.concatenate([rows.x for _, rows in expected]))
    targets = task._contents.file.columns["y"]
    np.testing.assert_array_equal(np.asarray(targets), [rows.y.iloc[-1] for _, rows in expected])


def test_no_step_is_in_two_parts(tmp_path):
    frame = series([200, 150, 80])
    frame.to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), target="y", id="pump", time="t", window_steps=6, stride=2)
    contents = task._contents
    steps = {part: set() for part in (TRAIN, VAL, TEST)}
    for window, part in enumerate(contents.parts.tolist()):
        if part in steps:
            rows = contents.file.rows[window * 6 : window * 6 + 6]
            steps[part] |= set(rows.tolist())
    assert all(steps.values())
    assert not steps[TRAIN] & steps[VAL]
    assert not steps[TRAIN] & steps[TEST]
    assert not steps[VAL] & steps[TEST]
    times = frame.t.to_numpy()
    for pump in ("p0", "p1", "p2"):
        own = set(np.flatnonzero(frame.pump == pump) + 1)
        ends = [[times[row - 1] for row in steps[part] & own] for part in (TRAIN, VAL, TEST)]
        assert max(ends[0]) < min(ends[1])
        assert max(ends[1]) < min(ends[2])
    assert sum(task.size(part) for part in (Split.TRAIN, Split.VAL, Split.TEST)) == (contents.parts >= 0).sum()
    assert f"{(contents.parts < 0).sum()} windows have steps of two parts" in task.describe()["note"]


def test_a_whole_file_is_one_series(tmp_path):
    frame = series([300]).drop(columns="pump")
    frame.to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), target="y", time="t", window_steps=10)
    raw = next(iter(read_inputs(tmp_path / "d.csv", task).pieces))
    assert raw.ids.tolist()[:2] == ["1-10", "11-20"]
    assert len(raw) == 30
    assert "30 windows, one every 10 steps of each series in the order of t, of 10 steps" in task.describe()["layout"]


def test_series_that_are_too_short_are_counted(tmp_path):
    frame = series([60, 5, 70, 3])
    frame.to_csv(tmp_path / "d.csv", index=False)
    task = File(path=str(tmp_path / "d.csv"), target="y", id="pump", time="t", window_steps=8)
    assert "2 series are shorter than a window, and left out" in task.describe()["note"]
    assert read_inputs(tmp_path / "d.csv", task).notes == ("2 series are shorter than a window, and left out",)


@pytest.mark.parametrize(
    ("steps", "message"), [(300, "no series has the 300 steps of a window"), (20, "no window of 20")]
)
def test_windows_that_do_not_fit_are_refused(tmp_path, steps, message):
    series([60]).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=message):
        File(path=str(tmp_path / "d.csv"), target="y", id="pump", time="t", window_steps=steps).describe()


def test_windows_without_a_target_are_left_out(tmp_path):
    frame = series([120])
    frame.loc[frame.t % 10 == 4, "y"] = np.nan
    frame.to_csv(tmp_path / "d.csv", index=False)
    settings = {"target": "y", "id": "pump", "time": "t", "window_steps": 10, "stride": 5}
    expected = [name for name, rows in by_hand(frame, 10, 5) if np.isfinite(rows.y.iloc[-1])]
    task = File(path=str(tmp_path / "d.csv"), unlabelled="skip", **settings)
    assert task._contents.file.ids.tolist() == expected
    assert "11 sequences without a target are left out" in task.describe()["note"]
    with pytest.raises(DataError, match="sequence p0:6-15, column y: no finite number"):
        File(path=str(tmp_path / "d.csv"), **settings).describe()
