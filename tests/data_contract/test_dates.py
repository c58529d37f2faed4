"""Times that are dates in words: in the order of time if there is only one, refused otherwise. The oracle is pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ffattn.errors import DataError
from ffattn.files import Layout, read_sequences
from ffattn.files.times import sort_keys
from ffattn.tasks import File

DAYS = pd.date_range("1995-11-20", periods=400, freq="17D")
FORMS = {
    "month": (DAYS.strftime("%Y %b"), DAYS.to_period("M")),
    "month first": (DAYS.strftime("%B %Y"), DAYS.to_period("M")),
    "month-year": (DAYS.strftime("%b-%Y"), DAYS.to_period("M")),
    "M": (DAYS.strftime("%YM%m"), DAYS.to_period("M")),
    "quarter": ([f"{day.year} Q{day.quarter}" for day in DAYS], DAYS.to_period("Q")),
    "quarter of pandas": (DAYS.to_period("Q").astype(str), DAYS.to_period("Q")),
    "quarter first": ([f"Q{day.quarter} {day.year}" for day in DAYS], DAYS.to_period("Q")),
    "week": ([f"{year}-W{week:02}" for year, week, _ in (day.isocalendar() for day in DAYS)], None),
    "day with month": (DAYS.strftime("%d-%b-%Y"), DAYS),
    "American day": (DAYS.strftime("%B %d, %Y"), DAYS),
    "slashes": (DAYS.strftime("%Y/%m/%d"), DAYS),
    "slashes with time": ((DAYS + pd.Timedelta("5h")).strftime("%Y/%m/%d %H:%M"), DAYS),
    "points": (DAYS.strftime("%Y.%m.%d"), DAYS),
}


@pytest.mark.parametrize("form", FORMS)
def test_dates_whose_order_is_beyond_doubt(form):
    texts, values = FORMS[form]
    order = np.random.default_rng(0).permutation(len(DAYS))
    keys = sort_keys(pa.array(np.asarray(texts, dtype=object)[order], pa.string()), str)
    expected = DAYS.strftime("%G%V").astype(int).to_numpy() if values is None else values.to_numpy()
    ranks = np.unique(expected[order], return_inverse=True)[1]
    np.testing.assert_array_equal(np.unique(keys, return_inverse=True)[1], ranks)


@pytest.mark.parametrize(
    "texts",
    [
        ["1998 Q1", "1998 Q5"],
        ["2023 Apr", "2023 Foo"],
        ["2023 Apr", "Apr 2023"],
        ["30-Feb-2024", "1-Mar-2024"],
        ["19-Sep-03", "18-Sep-03"],
        ["01/02/2024", "02/02/2024"],
        ["2024/13/01", "2024/12/01"],
        ["2023 Ma", "2023 Apr"],
    ],
)
def test_others_are_refused(tmp_path, texts):
    pd.DataFrame({"id": "a", "t": texts, "x": [0.5, 1.5]}).to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(
        DataError, match=r"row \d, column t: '.*' is text, and no time; .*write times as numbers, or as"
    ):
        read_sequences(tmp_path / "d.csv", Layout("id", "t", ("x",)))


@pytest.mark.parametrize("form", FORMS)
def test_dates_are_no_categories(tmp_path, form):
    texts = np.asarray(FORMS[form][0], dtype=object)
    frame = pd.DataFrame({"id": np.repeat(np.arange(100), 4), "when": texts, "x": 1.5, "y": np.repeat(range(100), 4)})
    frame.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(DataError, match=r"column when: .*(is a date|holds times); name it as the time, or"):
        File(path=str(tmp_path / "d.csv"), id="id", target="y").describe()
    assert File(path=str(tmp_path / "d.csv"), id="id", time="when", target="y").feature_names == ("x",)
