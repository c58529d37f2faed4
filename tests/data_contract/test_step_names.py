"""The names of a wide file's columns are read in the only way there is, or refused with both."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffattn.files.step_names import AmbiguousNamesError, group_steps

READ = [
    (["t1", "t2"], {"t": ["t1", "t2"]}),
    (["b_10", "a_2", "a_10", "b_2"], {"b": ["b_2", "b_10"], "a": ["a_2", "a_10"]}),
    (["1992", "1990", "1991"], {"value": ["1990", "1991", "1992"]}),
    (["y1991", "y1990"], {"y": ["y1990", "y1991"]}),
    (["1990.0", "1991.0"], {"value": ["1990.0", "1991.0"]}),
    (["-1", "0", "-2"], {"value": ["-2", "-1", "0"]}),
    (["1102.5", "1100.0"], {"value": ["1100.0", "1102.5"]}),
    (
        ["gdp_1990", "pop_1990", "gdp_1991", "pop_1991"],
        {"gdp": ["gdp_1990", "gdp_1991"], "pop": ["pop_1990", "pop_1991"]},
    ),
    (["1991_gdp", "1990_gdp"], {"gdp": ["1990_gdp", "1991_gdp"]}),
    (["2021_01", "2020_01", "2020_02"], {"value": ["2020_01", "2020_02", "2021_01"]}),
    (["2024-02-01", "2024-01-31"], {"value": ["2024-01-31", "2024-02-01"]}),
    (["1998Q2", "1998Q1", "1997Q4"], {"value": ["1997Q4", "1998Q1", "1998Q2"]}),
    (["Feb 1990", "Jan 1990", "Mar 1989"], {"value": ["Mar 1989", "Jan 1990", "Feb 1990"]}),
    (["oct", "nov", "dec", "jan"], {"value": ["oct", "nov", "dec", "jan"]}),
    (["Mon", "Tue"], {"value": ["Mon", "Tue"]}),
    (["Sat", "Sun", "Mon", "Wed"], {"value": ["Sat", "Sun", "Mon", "Wed"]}),
    (["x(t-1)", "x(t-2)"], {"x(t-)": ["x(t-2)", "x(t-1)"]}),
    (["lag_1", "lag_2"], {"lag": ["lag_2", "lag_1"]}),
    (["t0_s1", "t1_s1", "t0_s2", "t1_s2"], {"t_s1": ["t0_s1", "t1_s1"], "t_s2": ["t0_s2", "t1_s2"]}),
    (["x1_0", "x1_1", "x2_0", "x2_1"], {"x1": ["x1_0", "x1_1"], "x2": ["x2_0", "x2_1"]}),
    (["x1.5", "x0.5", "x1.0"], {"x": ["x0.5", "x1.0", "x1.5"]}),
    (["0", "0.1", "0.2", "0.3"], {"value": ["0", "0.1", "0.2", "0.3"]}),
    (["0", "0.5", "3"], {"value": ["0", "0.5", "3"]}),
    (["anything"], {"value": ["anything"]}),
]
REFUSED = [
    (["a_0", "a_1", "b_0"], "different steps .a with 2, b with 1., or the steps of one feature"),
    (
        ["customer", "jan", "feb"],
        r"customer beside jan, feb; .*task.leave_out=\[customer\].*value: \[customer, jan, feb\]",
    ),
    (["age", "t0", "t1"], r"age beside t0, t1; .*task.leave_out=\[age\]"),
    (["1990", "1991", "total"], r"task.leave_out=\[total\]"),
    (["height", "weight"], "give task.form=wide; .* task.id=COLUMN"),
    (["x1", "y1", "z1"], "3 features of one step, or the steps of one feature"),
    (["1_1", "1_2", "2_1", "2_2"], "several numbers, of which each could be the step"),
    (["y2020_01", "y2020_02", "y2021_01", "y2021_02"], "several numbers"),
    (["01/02/2024", "02/02/2024"], "several numbers"),
    (["x1.0", "x1.1", "x2.0", "x2.1"], "decimals, or a number and a step"),
    (["2020.2", "2020.12"], "decimals or months"),
    (["t0", "t1", "t0.1"], "t0 and t0.1 are copies of a column in pandas, or decimals"),
    (["1990", "1991", "1990.1"], "1990 and 1990.1 are copies"),
    (["a_1", "a1", "a_2"], "a_1 and a1 are the same step"),
    (["1", "01"], "1 and 01 are the same step"),
    (["Apr", "Aug", "Feb", "Jan"], r"not in the order of the calendar; give .*value: \[Jan, Feb, Apr, Aug\]"),
    (["Wed", "Tue", "Mon"], "not in the order of the calendar"),
]


@pytest.mark.parametrize(("names", "expected"), READ, ids=str)
def test_names_with_one_reading(names, expected):
    assert group_steps(names) == expected


@pytest.mark.parametrize(("names", "message"), REFUSED, ids=str)
def test_names_with_two_readings_are_refused_with_both(names, message):
    with pytest.raises(AmbiguousNamesError, match=message) as error:
        group_steps(names)
    assert "\n" not in str(error.value)


def test_names_that_somebody_has_put_in_order_are_the_steps_of_one_feature():
    assert group_steps(["height", "weight"], is_ordered=True) == {"value": ["height", "weight"]}


features = st.lists(st.sampled_from(["a", "b", "temp", "in_flow", "Druck", "p.q"]), min_size=1, max_size=3, unique=True)
numbers = st.lists(st.integers(0, 3000), min_size=2, max_size=5, unique=True)


@given(features, numbers, st.sampled_from(["", "_", "."]), st.randoms())
def test_features_with_equal_steps_are_read_whatever_their_order(names, steps, separator, random):
    columns = {name: [f"{name}{separator}{step}" for step in sorted(steps)] for name in names}
    mixed = list(itertools.chain.from_iterable(columns.values()))
    random.shuffle(mixed)
    assert group_steps(mixed) == columns


parts = st.sampled_from(["a", "b", "t", "y", "x1", "jan", "customer", "2020", "2021", "0", "1", "2", "10", "1.5", "Q1"])
names_of_any_kind = st.lists(
    st.builds("".join, st.lists(st.one_of(parts, st.sampled_from(["_", "-", "."])), min_size=1, max_size=4)),
    min_size=1, max_size=8, unique=True,
)  # fmt: skip


@given(names_of_any_kind, st.randoms())
def test_any_names_have_one_reading_or_none(names, random):
    """Each column is used once, all features have as many, and numbers tell the order whatever that of the file."""
    try:
        groups = group_steps(names)
    except AmbiguousNamesError:
        return
    assert sorted(itertools.chain.from_iterable(groups.values())) == sorted(names)
    assert len({len(columns) for columns in groups.values()}) == 1
    mixed = random.sample(names, len(names))
    if any(any(letter.isdigit() for letter in name) for name in names):
        assert group_steps(mixed) == groups
