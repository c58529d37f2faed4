import numpy as np
import pandas as pd
import pytest
import torch

from ffattn.errors import DataError, SettingError
from ffattn.files import Preparation
from ffattn.rng.streams import Split
from ffattn.settings import from_plain, to_plain
from ffattn.tasks import Arrays, File, Task
from ffattn.tasks.weights import SequenceWeights, weighted_order

CPU = torch.device("cpu")


def sequences(count=20, seed=0):
    random = np.random.default_rng(seed)
    lengths = random.integers(2, 7, count)
    x = random.normal(size=(count, 6, 2))
    return x, lengths, x[:, 0, 0] * 3 + 5


def same(first, second):
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in ("x", "offsets", "y"))


@pytest.mark.parametrize("y", ["numbers", "classes", "outputs"])
def test_arrays_are_what_a_file_of_them_would_be(tmp_path, y):
    x, lengths, numbers = sequences()
    targets = {
        "numbers": numbers,
        "classes": np.where(numbers > 5, "up", "down"),
        "outputs": np.stack([numbers] * 2, 1),
    }
    np.savez(tmp_path / "file.npz", x=x, lengths=lengths, y=targets[y])
    arrays = Arrays(x=x, y=targets[y], lengths=lengths, split_seed=3)
    target = ["y_0", "y_1"] if y == "outputs" else None
    file = File(path=str(tmp_path / "file.npz"), split_seed=3, target=target)
    assert all(same(arrays.on(CPU, split), file.on(CPU, split)) for split in Split)
    assert arrays.preparation == file.preparation
    assert arrays.state()["layout"] == file.state()["layout"]


def test_every_form_of_x_gives_the_same():
    x, lengths, y = sequences()
    own = [row[:length] for row, length in zip(x, lengths, strict=True)]
    expected = Arrays(x=x, y=y, lengths=lengths).on(CPU, Split.TRAIN)
    forms = (
        own,
        tuple(own),
        [torch.tensor(row) for row in own],
        [row.tolist() for row in own],
        [pd.DataFrame(row, columns=["a", "b"]) for row in own],
    )
    for form in forms:
        assert same(Arrays(x=form, y=torch.tensor(y)).on(CPU, Split.TRAIN), expected)
    assert Arrays(x=forms[-1], y=y).feature_names == ("a", "b")


def test_columns_of_a_table_are_found_by_name():
    tables = [pd.DataFrame({"a": [1.0, 2.0], "b": [number, 0.0]}) for number in range(9)]
    turned = [table[["b", "a"]] if number % 2 else table for number, table in enumerate(tables)]
    y = range(9)
    assert same(Arrays(x=turned, y=y).on(CPU, Split.TRAIN), Arrays(x=tables, y=y).on(CPU, Split.TRAIN))


def test_texts_are_sequences_of_words():
    task = Arrays(x=["a good film", "bad", "good"] * 4, y=["+", "-", "+"] * 4, split="stratified")
    assert task.preparation.features[0].values == ("a", "bad", "film", "good")


def test_splits_by_what_is_given_for_each_sequence():
    x, lengths, y = sequences()
    people = np.repeat(np.arange(10), 2)
    task = Arrays(x=x, y=y, lengths=lengths, columns={"person": people}, split="group", split_by="person")
    sizes = [task.size(split) for split in Split]
    assert sum(sizes) == 20
    assert all(size % 2 == 0 for size in sizes)


def test_without_shares_the_training_is_what_is_measured():
    x, lengths, y = sequences()
    task = Arrays(x=x, y=y, lengths=lengths, val_share=0.0, test_share=0.0)
    assert [task.size(split) for split in Split] == [20, 20, 20]
    assert "validation is on the training" in task.describe()["note"]
    halves = Arrays(x=x, y=y, lengths=lengths, val_share=0.5, test_share=0.0)
    assert [halves.size(split) for split in Split] == [10, 10, 10]
    assert same(halves.on(CPU, Split.VAL), halves.on(CPU, Split.TEST))
    assert not same(halves.on(CPU, Split.VAL), halves.on(CPU, Split.TRAIN))


def test_a_checkpoint_has_no_arrays():
    x, lengths, y = sequences()
    task = Arrays(x=x, y=y, lengths=lengths)
    restored = from_plain(to_plain(task), Task)
    restored.restore(task.state())
    assert isinstance(restored.preparation, Preparation)
    assert restored.preparation == task.preparation
    with pytest.raises(DataError, match="were in memory"):
        restored.size(Split.TEST)
    restored.attach(x, y, lengths=lengths)
    assert same(restored.on(CPU, Split.TEST), task.on(CPU, Split.TEST))
    assert restored.fingerprint() == task.fingerprint()
    restored.attach(x + 1, y, lengths=lengths)
    assert restored.fingerprint() != task.fingerprint()


def test_weights_decide_how_often_a_sequence_is_seen():
    weights = SequenceWeights(np.array([1.0, 0.0, 2.0, 1.0]))
    counts = sum(np.bincount(weighted_order(weights, 5, number), minlength=4) for number in range(400))
    assert counts.tolist() == [400, 0, 800, 400]  # whole shares of four places
    uneven = SequenceWeights(np.array([1.0, 2.0]))
    seen = sum(np.bincount(weighted_order(uneven, 5, number), minlength=2) for number in range(3000))
    assert seen[1] / seen[0] == pytest.approx(2, abs=0.15)
    assert weighted_order(uneven, 5, 7) is weighted_order(uneven, 5, 7)


def test_weights_count_in_validation():
    x, lengths, y = sequences(4)
    part = {"part": ["train", "train", "val", "val"]}
    shared = {"split": "column", "split_by": "part", "columns": part, "test_share": 0.0}
    task = Arrays(x=x, y=y, lengths=lengths, weights=[1, 1, 0, 3], **shared)
    expected = Arrays(x=x, y=y, lengths=lengths, **shared).on(CPU, Split.VAL).y[[1, 1]]
    assert torch.equal(task.on(CPU, Split.VAL).y, expected)
    assert task.fingerprint() != Arrays(x=x, y=y, lengths=lengths, weights=[1, 1, 0, 2], **shared).fingerprint()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1, 2]}, r"y: has shape \(2,\); must be \(20,\)"),
        ({"x": np.zeros(20)}, r"X is float64 \(20,\); must be \(sequence, time\)"),
        ({"x": [[1.0], []] * 10, "lengths": None}, "X, sequence 1: no steps"),
        ({"x": [np.zeros((3, 2)), np.zeros((3, 1))], "lengths": None}, "sequence 1: a step has 1 features; .* 2"),
        ({"x": [[1.0, "a"]] * 20, "lengths": None}, "values of one kind"),
        ({"lengths": [9] * 20}, r"lengths must be on 1..time; sequence 0 has 6 steps, not 9"),
        ({"lengths": [1.5] * 20}, "lengths are float64"),
        ({"x": np.full((20, 3), np.nan), "lengths": None}, "sequence 0: ends in steps without a value; give lengths"),
        ({"weights": [0] * 20}, "weights are all 0"),
        ({"weights": [-1] * 20}, "at least 0"),
        ({"weights": [1]}, r"weights: has shape \(1,\)"),
        ({"columns": {"who": [1]}}, r"who: has shape \(1,\)"),
        ({"y": [None, *range(19)]}, "sequence 0, column y: no finite number"),
    ],
)
def test_what_does_not_fit_is_said(change, message):
    x, lengths, y = sequences()
    with pytest.raises(DataError, match=message):
        Arrays(**({"x": x, "y": y, "lengths": lengths, "kind": "regression"} | change)).size(Split.TRAIN)


def test_settings_of_files_are_refused():
    with pytest.raises(SettingError, match="window_steps=3: is for files"):
        Arrays(x=[[1.0]], y=[1], window_steps=3)
    with pytest.raises(DataError, match="sequence 3, step 1, column feature_0: no value"):
        Arrays(x=[[1.0, np.nan if n == 3 else 1.0] for n in range(20)], y=range(20), kind="regression").size(
            Split.TRAIN
        )
