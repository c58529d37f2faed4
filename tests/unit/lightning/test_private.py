"""Private names of Lightning's: used where they are, and not missed where they are not."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from lightning.pytorch import Trainer

from ffattn.lightning.private import cache_batch_hooks, skip_signal_broadcast


def test_hooks_of_batches_are_looked_for_once():
    look = Mock(side_effect=lambda hook: f"instance for {hook}")
    selector = SimpleNamespace(get_instance=look)
    cache_batch_hooks(SimpleNamespace(_data_connector=SimpleNamespace(_datahook_selector=selector)))
    assert [selector.get_instance("a"), selector.get_instance("a")] == ["instance for a"] * 2
    assert look.call_count == 1


@pytest.mark.parametrize(
    "trainer",
    [
        SimpleNamespace(),
        SimpleNamespace(_data_connector=SimpleNamespace()),
        SimpleNamespace(_data_connector=SimpleNamespace(_datahook_selector=None)),
    ],
    ids=["no connector", "no selector", "not yet"],
)
def test_a_lightning_without_the_selector_is_left_as_it_is(trainer):
    before = repr(trainer)
    cache_batch_hooks(trainer)
    assert repr(trainer) == before


def test_processes_are_not_told_of_sigterm_at_every_update():
    loop = SimpleNamespace(_broadcast_sigterm_tensor=Mock())
    broadcast = loop._broadcast_sigterm_tensor
    skip_signal_broadcast(SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=loop)))
    loop._broadcast_sigterm_tensor()
    assert not broadcast.called


def test_a_lightning_without_the_broadcast_is_left_as_it_is():
    loop = SimpleNamespace()
    skip_signal_broadcast(SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=loop)))
    assert vars(loop) == {}


def test_this_lightning_has_both():
    """Without them nothing breaks, but updates take longer: look for their successors."""
    trainer = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu")
    assert hasattr(trainer._data_connector, "_datahook_selector")
    assert hasattr(trainer.fit_loop.epoch_loop, "_broadcast_sigterm_tensor")
