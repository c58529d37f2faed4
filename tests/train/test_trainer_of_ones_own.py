"""Lightning's Trainer as others use it, with all its defaults: `SequenceModule` and `SequenceData` do what it says."""

import math
import warnings

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from ffattn.lightning import SequenceData, SequenceModule
from ffattn.models import FFAttention
from ffattn.tasks import Add, Fixed, Xor
from ffattn.tasks.batch import as_batch

TASK = Add(Fixed(T=12))
SIZES = {"batch_size": 4, "sequences": 12, "validate_every": 3}


class Seen(Callback):
    """Remembers the training batches."""

    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch.x)

    @property
    def different(self):
        return len({tuple(x.flatten().tolist()) for x in self.batches})


@pytest.fixture(autouse=True)
def _hints(monkeypatch, tmp_path):
    """Lightning advises workers, and says which devices are there."""
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def module(task=TASK, **options):
    return SequenceModule(task, FFAttention(hidden=4), **options)


def trainer(**options):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return Trainer(**quiet | {"enable_checkpointing": False} | options)


def test_a_trainer_with_its_defaults_trains_validates_and_tests():
    trained, data = module(), SequenceData(TASK, **SIZES)
    own = Trainer(max_epochs=3)
    own.fit(trained, datamodule=data)
    assert own.global_step == 3 * 3
    assert own.validate(trained, datamodule=data)[0]["val/error"] == own.logged_metrics["val/error"]
    assert own.test(trained, datamodule=data)[0].keys() >= {"test/accuracy", "test/error"}


def test_what_was_never_trained_can_be_validated():
    (found,) = trainer().validate(module(), datamodule=SequenceData(TASK, **SIZES))
    assert math.isfinite(found["val/error"])


@pytest.mark.parametrize("overfit", [2, 0.5])
def test_so_many_batches_are_overfitted(overfit):
    seen = Seen()
    own = trainer(max_epochs=3, overfit_batches=overfit, callbacks=[seen])
    own.fit(module(), datamodule=SequenceData(TASK, **SIZES | {"validate_every": 4}))
    assert (len(seen.batches), seen.different) == (6, 2)


def test_the_trainer_knows_how_many_batches_are_an_update():
    seen = Seen()
    own = trainer(max_epochs=3, accumulate_grad_batches=2, callbacks=[seen])
    own.fit(module(), datamodule=SequenceData(TASK, **SIZES))
    assert own.global_step == 3 * 3
    assert (len(seen.batches), seen.different) == (18, 18)


def test_every_batch_is_another_where_epochs_are_limited():
    seen = Seen()
    trainer(max_epochs=3, limit_train_batches=2, callbacks=[seen]).fit(module(), datamodule=SequenceData(TASK, **SIZES))
    assert (len(seen.batches), seen.different) == (6, 6)


@pytest.mark.parametrize("task", [TASK, Xor(Fixed(T=12))], ids=["numbers", "classes"])
def test_predictions_are_those_of_the_network(task):
    trained = module(task).eval()
    data = SequenceData(task, **SIZES)
    found = torch.cat(trainer().predict(trained, datamodule=data))
    with torch.no_grad():
        wanted = torch.cat([trained.network(batch.x, batch.lengths).prediction for batch in data.test_dataloader()])
    torch.testing.assert_close(found, wanted.argmax(dim=1) if task.is_classification else wanted)


def test_the_loss_is_logged_under_its_name():
    own = trainer(max_epochs=1, log_every_n_steps=1)
    own.fit(module(), datamodule=SequenceData(TASK, **SIZES))
    assert own.logged_metrics.keys() >= {"train/loss", "train/accuracy", "val/error"}


@pytest.mark.parametrize("make", [tuple, lambda batch: {"x": batch.x, "lengths": batch.lengths, "y": batch.y}])
def test_a_loader_of_ones_own_has_the_same_course(make):
    """As the streamed batches, whose numbers it has."""
    data = SequenceData(TASK, **SIZES)
    batches = data.training_batches(range(1)) + data.training_batches(range(1, 2))
    loader = DataLoader([make(batch[:3]) if make is tuple else make(batch) for batch in batches], batch_size=None)
    streamed, own = module(), module()
    trainer(max_steps=2, limit_val_batches=0).fit(streamed, datamodule=data)
    trainer(max_steps=2, limit_val_batches=0).fit(own, loader)
    torch.testing.assert_close(own.state_dict(), streamed.state_dict())


@pytest.mark.parametrize("y", [torch.tensor([0.5, 1.5]), torch.tensor([[0.5], [1.5]]), torch.tensor([1, 2])])
def test_all_steps_are_real_and_a_number_is_an_output(y):
    """A loss of (batch,) and (batch, 1) would pair each target with all predictions."""
    batch = as_batch((torch.rand(2, 3, 2), y), is_classification=False)
    assert batch.lengths.tolist() == [3, 3]
    assert batch.y.is_floating_point()
    torch.testing.assert_close(batch.y, y.reshape(2, 1).float())


def test_classes_are_indices():
    batch = as_batch((torch.rand(2, 3, 2), torch.tensor([1, 0], dtype=torch.int32)), is_classification=True)
    assert (batch.y.dtype, batch.y.tolist()) == (torch.int64, [1, 0])
    for y in (torch.tensor([1.0, 0.0]), torch.eye(2), torch.eye(2).long()):
        with pytest.raises(ValueError, match=r"must be class indices, integers \(batch,\)"):
            as_batch((torch.rand(2, 3, 2), y), is_classification=True)


def test_with_accumulation_it_logs_once_for_each_update():
    logged = []
    trained = module()
    trained.log_dict = lambda values: logged.append(dict(values)) if "train/loss" in values else None
    own = trainer(max_epochs=1, accumulate_grad_batches=2, log_every_n_steps=1, limit_val_batches=0)
    own.fit(trained, datamodule=SequenceData(TASK, **SIZES))
    assert len(logged) == own.global_step == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.rand(2, 3, 2), r"must be \(x, y\), \(x, lengths, y\), or a dictionary"),
        ((torch.rand(2, 3, 2),), r"must be \(x, y\)"),
        ({"x": torch.rand(2, 3, 2), "labels": torch.rand(2)}, r"must be \(x, y\)"),
        ((torch.rand(2, 3), torch.rand(2)), r"x \(2, 3\), y \(2,\); must be x \(batch, time, feature\)"),
        ((torch.rand(2, 3, 2), torch.rand(3)), r"y \(3,\); must be"),
        ((torch.rand(2, 3, 2), torch.tensor([3]), torch.rand(2)), r"lengths \(1,\)"),
        ((torch.rand(2, 3, 2), torch.rand(2, 1, 1)), r"must be numbers, \(batch,\) or \(batch, output\)"),
    ],
)
def test_what_is_no_batch_is_one_line(given, message):
    with pytest.raises(ValueError, match=message):
        as_batch(given, is_classification=False)


def test_the_tuner_finds_a_rate_and_a_batch_size():
    trained, data = module(), SequenceData(TASK, **SIZES | {"validate_every": 50})
    found = Tuner(trainer(max_steps=20)).lr_find(trained, datamodule=data, num_training=20)
    assert trained.optim.lr == trained.lr == found.suggestion()
    Tuner(trainer(max_steps=2)).scale_batch_size(trained, datamodule=data, init_val=8, max_trials=2, steps_per_trial=1)
    assert data.batch_size == 16


def test_bfloat16_may_be_clipped():
    own = trainer(max_epochs=1, precision="bf16-mixed", gradient_clip_val=0.1)
    own.fit(module(), datamodule=SequenceData(TASK, **SIZES))
    assert own.global_step == 3
