"""Optimisers and learning-rate schedules, all of them torch's."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ffattn.errors import SettingError
from ffattn.settings import Settings, setting
from ffattn.system.lazy import torch

if TYPE_CHECKING:
    from torch import nn, optim
    from torch.optim.lr_scheduler import LambdaLR

    Parameters = Iterable[nn.Parameter]


@dataclass
class Optim(Settings, ABC):
    """An optimiser with its learning-rate schedule.

    Attributes:
        lr: Learning rate, after the warm-up.
        schedule: `constant`, or `cosine` or `linear` from lr down to zero at the last update.
        warmup: Over how many updates the rate rises linearly from lr / warmup.
        horizon: The update at which a schedule reaches zero; null for the last one. Then a run that is continued with
            more updates follows another schedule from there on; with a horizon it ends as if it had not been stopped.
    """

    lr: float = setting(0.003, above=0)
    schedule: str = setting("constant", choices=("constant", "cosine", "linear"))
    warmup: int = setting(0, low=0)
    horizon: int | None = setting(None, low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.horizon is not None and self.schedule == "constant":
            raise SettingError("horizon", self.horizon, "has no meaning for optim.schedule=constant; leave it out")

    @abstractmethod
    def optimizer(self, parameters: "Parameters", fused: bool = True) -> "optim.Optimizer":
        """Make the optimiser.

        Args:
            parameters: What it updates.
            fused: Whether to use torch's fused kernel: the same result in fewer launches.
        """

    def scheduler(self, optimizer: "optim.Optimizer", updates: int) -> "LambdaLR | None":
        """Make the schedule, to be stepped after every update; None where the rate is constant throughout.

        Args:
            optimizer: Whose rate it sets.
            updates: How many updates the run has at most. It is no part of the schedule's state, so that a run that is
                continued with more updates follows the longer schedule, unless there is a horizon.
        """
        if self.schedule == "constant" and self.warmup == 0:
            return None
        return torch.optim.lr_scheduler.LambdaLR(optimizer, partial(self._factor, self.horizon or updates))

    def _factor(self, updates: int, update: int) -> float:
        """The share of lr that an update (0-based) gets."""
        if update < self.warmup:
            return (update + 1) / self.warmup
        progress = min((update - self.warmup) / max(updates - self.warmup, 1), 1.0)
        falling = {"linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
        return falling.get(self.schedule, 1.0)


@dataclass
class Adam(Optim):
    """Adam; with `weight_decay`, AdamW.

    Attributes:
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.
        eps: Added to the root of the squared mean.
        weight_decay: Decoupled weight decay, per unit of learning rate.

    Source:
        Kingma & Ba 2015; Loshchilov & Hutter 2019. The defaults are those of Raffel & Ellis, section 2.2.
    """

    beta1: float = setting(0.9, low=0, below=1)
    beta2: float = setting(0.999, low=0, below=1)
    eps: float = setting(1e-8, above=0)
    weight_decay: float = setting(0.0, low=0)

    def optimizer(self, parameters: "Parameters", fused: bool = True) -> "optim.Optimizer":
        """Make the optimiser (see `Optim.optimizer`)."""
        betas = (self.beta1, self.beta2)
        return torch.optim.AdamW(parameters, self.lr, betas, self.eps, self.weight_decay, fused=fused)


@dataclass
class SGD(Optim):
    """Stochastic gradient descent.

    Attributes:
        momentum: Decay of the running gradient; 0 is plain descent.
        nesterov: Nesterov's form of the momentum.
        weight_decay: L2 penalty, added to the gradient.
    """

    momentum: float = setting(0.9, low=0, below=1)
    nesterov: bool = False
    weight_decay: float = setting(0.0, low=0)

    def optimizer(self, parameters: "Parameters", fused: bool = True) -> "optim.Optimizer":
        """Make the optimiser (see `Optim.optimizer`)."""
        nesterov = self.nesterov and self.momentum > 0
        return torch.optim.SGD(parameters, self.lr, self.momentum, 0, self.weight_decay, nesterov, fused=fused)
