import math

import pytest
import torch
from torch import nn, optim

from ffattn.errors import SettingError
from ffattn.optim import SGD, Adam

LR = 0.01


def rates(settings, updates):
    """The learning rate of each update."""
    optimizer = settings.optimizer([nn.Parameter(torch.zeros(1))])
    scheduler, used = settings.scheduler(optimizer, updates), []
    for _ in range(updates):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return used


def falling(schedule, updates):
    """The rate of each update of a schedule from lr down to zero, by the formula."""
    shape = {"cosine": lambda part: (1 + math.cos(math.pi * part)) / 2, "linear": lambda part: 1 - part}[schedule]
    return [LR * shape(update / updates) for update in range(updates)]


def test_a_constant_rate_needs_no_scheduler():
    settings = Adam(lr=LR)
    assert settings.scheduler(settings.optimizer([nn.Parameter(torch.zeros(1))]), 10) is None
    assert rates(settings, 3) == [LR] * 3


def test_the_rate_rises_linearly_over_the_warm_up():
    assert rates(Adam(lr=LR, warmup=4), 7) == pytest.approx([LR / 4, LR / 2, 3 * LR / 4, LR, LR, LR, LR])


def test_a_warm_up_of_one_update_changes_nothing():
    assert rates(Adam(lr=LR, warmup=1), 4) == pytest.approx([LR] * 4)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_schedule_falls_from_lr_to_zero(schedule):
    assert rates(Adam(lr=LR, schedule=schedule), 10) == pytest.approx(falling(schedule, 10))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_schedule_starts_falling_after_the_warm_up(schedule):
    used = rates(SGD(lr=LR, schedule=schedule, warmup=3), 13)
    assert used == pytest.approx([LR / 3, 2 * LR / 3, LR, *falling(schedule, 10)])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("updates", [4, 10])
def test_a_horizon_is_where_a_schedule_ends_however_long_the_run_is(schedule, updates):
    assert rates(Adam(lr=LR, schedule=schedule, horizon=10), updates) == pytest.approx(falling(schedule, 10)[:updates])


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_the_rate_after_the_last_update_is_zero(schedule):
    settings = Adam(lr=LR, schedule=schedule, warmup=2)
    optimizer = settings.optimizer([nn.Parameter(torch.zeros(1))])
    scheduler = settings.scheduler(optimizer, 8)
    for _ in range(8):
        optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_warm_up_longer_than_the_run_only_rises(schedule):
    used = rates(Adam(lr=LR, schedule=schedule, warmup=8), 5)
    assert used == pytest.approx([LR * (update + 1) / 8 for update in range(5)])


@pytest.mark.parametrize("fused", [True, False])
def test_adam_is_torchs_with_the_given_hyperparameters(fused):
    settings = Adam(lr=LR, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.1)
    optimizer = settings.optimizer([nn.Parameter(torch.zeros(1))], fused)
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, optim.AdamW)
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (LR, (0.8, 0.9), 1e-6, 0.1)
    assert bool(group["fused"]) is fused


@pytest.mark.parametrize(("nesterov", "momentum", "used"), [(True, 0.5, True), (False, 0.5, False), (True, 0.0, False)])
def test_sgd_is_torchs_with_the_given_hyperparameters(nesterov, momentum, used):
    settings = SGD(lr=LR, momentum=momentum, nesterov=nesterov, weight_decay=0.1)
    optimizer = settings.optimizer([nn.Parameter(torch.zeros(1))])
    group = optimizer.param_groups[0]
    assert isinstance(optimizer, optim.SGD)
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (LR, momentum, 0.1, used)


def test_one_step_of_adam_by_hand():
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = Adam(lr=LR).optimizer([weight])
    (3 * weight).sum().backward()
    optimizer.step()
    assert weight.item() == pytest.approx(1 - LR, rel=1e-6)  # the first step of Adam is lr times the gradient's sign


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.0},
        {"lr": math.nan},
        {"schedule": "step"},
        {"warmup": -1},
        {"beta1": 1.0},
        {"beta2": 1.0},
        {"eps": 0.0},
        {"horizon": 5},
    ],
    ids=str,
)
def test_hyperparameters_outside_their_range_are_refused(values):
    with pytest.raises(SettingError, match=next(iter(values))):
        Adam(**values)
