import json
import pickle
import re
from dataclasses import dataclass, field, fields

import numpy as np
import pytest
import torch
from helpers import concrete_subclasses

from ffattn.errors import SettingError
from ffattn.models import FFAttention, LSTMAttention, Model
from ffattn.settings import TARGET, Settings, find_class, from_plain, setting, target_of, to_plain
from ffattn.tasks import Add, Fixed, GivenTask, Length, Multiply, Paper, Task, TemporalOrder2, Variable


@dataclass
class Knob(Settings):
    count: int = setting(2, low=1, high=3)
    rate: float | None = setting(0.5, above=0, below=1)
    mode: str = setting("slow", choices=("slow", "fast"))
    free: float = 0.0


@pytest.mark.parametrize(
    "values",
    [{"count": 1}, {"count": 3}, {"rate": 1e-9}, {"rate": 1 - 1e-9}, {"rate": None}, {"mode": "fast"}],
    ids=str,
)
def test_values_up_to_the_limits_are_accepted(values):
    assert [getattr(Knob(**values), name) for name in values] == list(values.values())


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("count", 0, "must be at least 1"),
        ("count", 4, "must be at most 3"),
        ("rate", 0, "must be more than 0"),
        ("rate", 1, "must be less than 1"),
        ("rate", float("nan"), "must be a finite number"),
        ("free", float("nan"), "must be a finite number"),
        ("free", float("-inf"), "must be a finite number"),
        ("mode", "quick", "must be one of slow, fast"),
    ],
)
def test_values_outside_the_limits_are_refused_in_one_line(key, value, problem):
    with pytest.raises(SettingError) as caught:
        Knob(**{key: value})
    assert str(caught.value) == f"{key}={value}: {problem}"
    assert (caught.value.key, caught.value.problem) == (key, problem)


def test_a_setting_error_is_a_value_error():
    assert issubclass(SettingError, ValueError)


def test_an_unknown_limit_is_a_programmers_mistake():
    with pytest.raises(AssertionError, match="lowest"):
        setting(1, lowest=0)


def test_targets_are_the_shortest_public_paths():
    assert target_of(Add) == "ffattn.tasks.Add"
    assert target_of(Knob) == f"{__name__}.Knob"


@pytest.mark.parametrize("target", ["ffattn.tasks.Add", "ffattn.tasks.add.Add"])
def test_a_class_is_found_by_any_of_its_paths(target):
    assert find_class(target, Task) is Add


@pytest.mark.parametrize(
    "target",
    ["", "Add", "ffattn.tasks.Nothing", "ffattn.nowhere.Add", "ffattn.tasks", "ffattn.models.Mean", "math.pi"],
)
def test_a_target_that_names_no_subclass_is_refused(target):
    with pytest.raises(SettingError) as caught:
        find_class(target, Task)
    assert (caught.value.key, caught.value.value) == (TARGET, target)


def every_settings_class():
    every = [cls for base in (Task, Length, Model) for cls in concrete_subclasses(base, "ffattn")]
    return [cls for cls in every if not issubclass(cls, GivenTask)]  # which need a file


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Knob, "knob"), (Add, "add"), (TemporalOrder2, "temporal_order_2"), (LSTMAttention, "lstm_attention")],
)
def test_a_class_is_called_by_its_name_in_snake_case(cls, name):
    assert cls.name == name


def test_a_class_may_state_its_name_and_its_subclasses_have_their_own():
    class Stated(Knob):
        name = "my_knob"

    class Derived(Stated):
        pass

    assert (FFAttention.name, Stated.name, Derived.name) == ("ffattn", "my_knob", "derived")


@pytest.mark.parametrize("cls", every_settings_class(), ids=lambda cls: cls.__name__)
def test_every_default_survives_json(cls):
    plain = json.loads(json.dumps(to_plain(cls())))
    assert from_plain(plain, Settings) == cls()


def test_other_values_and_nested_settings_survive_too():
    task = Multiply(length=Variable(T=77, min=20, distribution="log_uniform"), tolerance=0.1)
    plain = to_plain(task)
    assert plain["length"][TARGET] == "ffattn.tasks.Variable"
    assert from_plain(plain, Task) == task


def test_every_field_is_written():
    assert to_plain(FFAttention()).keys() == {TARGET, *(field.name for field in fields(FFAttention))}


@pytest.mark.parametrize("target", ["os.path", "ffattnot.tasks.Add", "ffattn", "", f"{__name__}.Knob"])
def test_classes_outside_the_trusted_packages_are_not_imported(target):
    with pytest.raises(SettingError, match="trust=<package>"):
        from_plain({TARGET: target}, Settings)


def test_a_nested_class_outside_the_trusted_packages_is_not_imported_either():
    with pytest.raises(SettingError, match="trust=<package>"):
        from_plain({TARGET: "ffattn.tasks.Add", "length": {TARGET: "os.path"}}, Task)


def test_a_trusted_package_may_hold_the_class():
    assert from_plain({TARGET: f"{__name__}.Knob", "count": 3}, Settings, trust=("ffattn", __name__)) == Knob(count=3)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({TARGET: "ffattn.tasks.Fixed", "T": 0}, "T=0: must be at least 1"),
        ({TARGET: "ffattn.tasks.Fixed", "t": 5}, "t"),
        ({TARGET: "ffattn.tasks.Length"}, "base class"),
        ({TARGET: "ffattn.models.Mean"}, "no subclass"),
    ],
)
def test_plain_values_that_make_no_settings_are_refused(plain, message):
    with pytest.raises(SettingError, match=message):
        from_plain(plain, Length)


def test_lengths_of_one_kind_are_equal_only_with_equal_values():
    assert Fixed(T=5) == Fixed(T=5) != Paper(T=5)


def test_a_relative_target_is_refused():
    with pytest.raises(SettingError):
        find_class(".mine.Add", Task)


def test_a_setting_error_crosses_processes():
    error = pickle.loads(pickle.dumps(SettingError("T", 1, "no")))
    assert (error.key, error.value, error.problem, str(error)) == ("T", 1, "no", "T=1: no")


def test_the_base_of_the_temporal_orders_is_no_task():
    with pytest.raises(SettingError, match="num_outputs"):
        from_plain({TARGET: "ffattn.tasks.TemporalOrder"}, Task)


@pytest.mark.parametrize(
    "length", [{TARGET: "ffattn.models.Mean"}, {}, None, {TARGET: "ffattn.tasks.Fixed", "T": 10.5}]
)
def test_a_wrong_nested_value_is_a_setting_error(length):
    with pytest.raises(SettingError):
        from_plain({TARGET: "ffattn.tasks.Add", "length": length}, Task)


@dataclass
class Various(Settings):
    layers: list[int] = field(default_factory=lambda: [64, 64])
    rates: dict[str, float] = field(default_factory=lambda: {"a": 0.5})
    most: int | None = None


def test_lists_mappings_and_options_survive_a_checkpoint():
    plain = to_plain(Various(most=3))
    assert from_plain(plain, Settings, trust=(plain[TARGET].partition(".")[0],)) == Various(most=3)


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Fixed(T="20"), "T=20: must be a whole number"),
        (lambda: Fixed(T=20.0), "T=20.0: must be a whole number"),
        (lambda: Fixed(T=np.float64(20)), "T=20.0: must be a whole number"),
        (lambda: Fixed(T=np.arange(2)), "T=[0 1]: must be a whole number"),
        (lambda: Fixed(T=None), "T=None: must be a whole number"),
        (lambda: Various(most=0.5), "most=0.5: must be a whole number or null"),
        (lambda: Add(length=None), "length=None: must be the settings of a Length"),
        (lambda: Add(tolerance="0.1"), "tolerance=0.1: must be a number"),
    ],
)
def test_a_value_of_another_type_is_refused(make, message):
    with pytest.raises(SettingError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize("number", [np.int64(20), np.array(20), torch.tensor(20)], ids=repr)
def test_a_number_of_another_library_becomes_pythons(number):
    length = Fixed(T=number)
    assert length == Fixed(T=20)
    assert type(length.T) is int


def test_a_forgotten_decorator_is_named():
    class Forgetful(Add):
        extra: int = 3

    Forgetful.__module__ = __name__
    globals()["Forgetful"] = Forgetful
    with pytest.raises(SettingError, match="@dataclass"):
        find_class(f"{__name__}.Forgetful", Task)
