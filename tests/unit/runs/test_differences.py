"""In what the settings of two runs differ, in words."""

from ffattn.runs.differences import Difference, decisive_differences, differences
from ffattn.settings import to_plain
from ffattn.tasks import Add, Multiply, Paper


def test_equal_settings_have_no_difference():
    assert differences("task", to_plain(Add()), to_plain(Add())) == []


def test_each_setting_that_differs_is_named_with_both_values():
    new = to_plain(Add(length=Paper(T=50), tolerance=0.1))
    old = to_plain(Add(length=Paper(T=60), tolerance=0.2))
    assert differences("task", new, old) == [
        Difference("task.length.T", "50", "60"),
        Difference("task.tolerance", "0.1", "0.2"),
    ]


def test_of_two_classes_only_the_names_differ():
    (found,) = differences("task", to_plain(Add()), to_plain(Multiply()))
    assert found.key == "task"
    assert (found.new.rpartition(".")[2], found.old.rpartition(".")[2]) == ("Add", "Multiply")


def test_what_an_older_run_lacks_was_the_default():
    new = to_plain(Add())
    old = {name: value for name, value in new.items() if name != "tolerance"}
    assert differences("task", new, old) == []
    assert differences("", new | {"tolerance": 0.5}, old) == [Difference("tolerance", "0.5", str(Add().tolerance))]


def test_a_line_says_what_was_asked_for_and_what_is_there():
    (found,) = differences("init_from", None, "other.ckpt")
    assert found.line("the checkpoint") == "init_from=null: the checkpoint has other.ckpt"


def test_only_what_decides_about_curves_is_compared():
    keys = ("task", "model", "optim", "seed", "batch_size", "precision", "init_from")
    trainer = ("validate_every", "sequences", "accumulate", "gradient_clip", "ema_decay", "distinct_batches")
    before = dict.fromkeys(keys, 1) | {"trainer": dict.fromkeys(trainer, 1) | {"log_every": 1}, "updates": 1}
    now = before | {"seed": 2, "updates": 2, "trainer": before["trainer"] | {"log_every": 2, "accumulate": 2}}
    assert [found.key for found in decisive_differences(now, before)] == ["seed", "trainer.accumulate"]
