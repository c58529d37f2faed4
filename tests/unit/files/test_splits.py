"""Which sequences are for training, for validation and for the test."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sequences_of_arrays import raw

from ffattn.errors import DataError
from ffattn.files import SplitRule, assign_parts


def sequences(count, **columns):
    data = raw({"a": np.arange(2 * count)}, {"y": np.arange(count) / 3})
    data.columns.update({name: pa.array(list(values)) for name, values in columns.items()})
    return data


def test_random_parts_depend_on_their_seed_alone():
    parts = [assign_parts(sequences(100), SplitRule("random", None, 0.2, 0.3, seed)) for seed in (0, 0, 1)]
    assert np.bincount(parts[0]).tolist() == [50, 20, 30]
    assert parts[0].tolist() == parts[1].tolist() != parts[2].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_every_class_has_its_share_of_each_part(seed):
    classes = np.array(["rare"] * 20 + ["usual"] * 180)
    parts = assign_parts(sequences(200, k=classes), SplitRule("stratified", "k", 0.2, 0.3, seed))
    assert np.bincount(parts[classes == "rare"]).tolist() == [10, 4, 6]
    assert np.bincount(parts[classes == "usual"]).tolist() == [90, 36, 54]
    assert (
        parts.tolist()
        != assign_parts(sequences(200, k=classes), SplitRule("stratified", "k", 0.2, 0.3, seed + 1)).tolist()
    )


def test_numbers_are_no_classes_to_have_shares_of():
    message = "split=stratified needs classes, and column y has 9 different values in 9 sequences; use split=random"
    with pytest.raises(DataError, match=message):
        assign_parts(sequences(9), SplitRule("stratified", "y", 0.2, 0.2, 0))


def test_no_group_is_on_two_sides():
    groups = [f"g{i % 7}" for i in range(60)]
    parts = assign_parts(sequences(60, g=groups), SplitRule("group", "g", 0.2, 0.2, 3))
    assert all(len({part for part, g in zip(parts, groups, strict=True) if g == group}) == 1 for group in groups)
    assert set(parts) == {0, 1, 2}


def test_the_last_ones_to_begin_are_the_test():
    data = replace(sequences(10), starts=np.arange(10)[::-1])
    assert assign_parts(data, SplitRule("time", None, 0.2, 0.1, 0)).tolist() == [2, 1, 1, 0, 0, 0, 0, 0, 0, 0]


def test_a_column_may_say_it():
    parts = assign_parts(
        sequences(4, part=["train", "Test", "val", "training"]), SplitRule("column", "part", 0.5, 0.2, 0)
    )
    assert parts.tolist() == [0, 2, 1, 0]
    with pytest.raises(DataError, match="sequence 2, column part: other; must be train, val or test"):
        assign_parts(sequences(2, part=["train", "other"]), SplitRule("column", "part", 0.5, 0.2, 0))


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_sequences_are_refused(count):
    with pytest.raises(DataError, match="no sequence is left for"):
        assign_parts(sequences(count), SplitRule("random", None, 0.15, 0.15, 0))
