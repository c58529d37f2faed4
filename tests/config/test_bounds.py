"""Where the settings of commands end: the outermost value that is taken, and the first that is not."""

import pytest

from ffattn.config.schema import Accelerator, Train, Trainer
from ffattn.config.trained_schema import Evaluate, Inspect, Streaming
from ffattn.errors import SettingError
from ffattn.models import Mean
from ffattn.optim import Adam
from ffattn.rng.streams import Split
from ffattn.tasks import Add, File

LEAST = {
    Trainer: ("validate_every", "sequences", "patience", "accumulate", "distinct_batches", "log_every", "pictures"),
    Accelerator: ("devices", "num_nodes", "num_threads"),
    Evaluate: ("sequences", "batch_size", "T"),
    Inspect: ("sequences",),
    Streaming: ("every",),
}
NEEDED = {"checkpoint": "last.ckpt", "task": Add()}


def make(kind, **options):
    needed = {name: value for name, value in NEEDED.items() if name in kind.__dataclass_fields__}
    return kind(**(needed | options))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in LEAST.items() for name in names])
def test_one_is_the_least_of_what_is_counted(kind, name):
    if name != "T":  # of which the length has another
        assert getattr(make(kind, **{name: 1}), name) == 1
    with pytest.raises(SettingError, match=rf"^{name}=0: "):
        make(kind, **{name: 0})


@pytest.mark.parametrize("name", ["gradient_clip", "ema_decay"])
def test_zero_is_less_than_the_least_of_what_is_measured(name):
    assert getattr(Trainer(**{name: 1e-9}), name) == 1e-9
    with pytest.raises(SettingError, match=rf"^{name}=0.0: "):
        Trainer(**{name: 0.0})


def test_an_average_that_never_moves_is_refused():
    assert Trainer(ema_decay=0.999999).ema_decay == 0.999999
    with pytest.raises(SettingError, match=r"^ema_decay=1.0: "):
        Trainer(ema_decay=1.0)


@pytest.mark.parametrize(("batch_size", "accumulate", "updates"), [(3, 1, 5), (3, 2, 3), (7, 2, 1), (14, 1, 1)])
def test_given_data_is_validated_after_each_pass(tmp_path, batch_size, accumulate, updates):
    """Of the 14 of 20 sequences that are for training; the last update may have fewer."""
    (tmp_path / "rows.csv").write_text("a,y\n" + "".join(f"{n},{n % 3}.5\n" for n in range(20)))
    task = File(path=str(tmp_path / "rows.csv"), target="y")
    trainer = Trainer(validate_every=None, sequences=None, accumulate=accumulate)
    settings = Train(task=task, model=Mean(), optim=Adam(), trainer=trainer, T=0, batch_size=batch_size)
    assert settings.task.size(Split.TRAIN) == 14
    assert settings.validate_every == updates


@pytest.mark.parametrize("kind", [Evaluate, Inspect])
def test_seeds_and_indices_start_at_zero(kind):
    for name in {"seed", "index"} & set(kind.__dataclass_fields__):
        assert getattr(make(kind, **{name: 0}), name) == 0
        with pytest.raises(SettingError, match=rf"^{name}=-1: "):
            make(kind, **{name: -1})
