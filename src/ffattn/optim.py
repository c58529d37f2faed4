"""Optimisers and learning-rate schedules, all of them torch's."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn, optim
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from ffattn.settings import Settings, setting

Parameters = Iterable[nn.Parameter]


@dataclass
class Optim(Settings, ABC):
    """An optimiser with its learning-rate schedule.

    Attributes:
        lr: Learning rate, after the warm-up.
        schedule: `constant`, or `cosine` or `linear` from lr down to zero at the last update.
        warmup: Over how many updates the rate rises linearly from lr / warmup.
    """

    lr: float = setting(0.003, above=0)
    schedule: str = setting("constant", choices=("constant", "cosine", "linear"))
    warmup: int = setting(0, low=0)

    @abstractmethod
    def optimizer(self, parameters: Parameters, fused: bool = True) -> optim.Optimizer:
        """Make the optimiser.

        Args:
            parameters: What it updates.
            fused: Whether to use torch's fused kernel: the same result in fewer launches.
        """

    def scheduler(self, optimizer: optim.Optimizer, updates: int) -> LRScheduler | None:
        """Make the schedule, to be stepped after every update; None where the rate is constant throughout.

        Args:
            optimizer: Whose rate it sets.
            updates: How many updates the run has at most.
        """
        main = self._main(optimizer, max(updates - self.warmup, 1))
        if self.warmup == 0:
            return main
        rise = LinearLR(optimizer, 1 / self.warmup, total_iters=self.warmup - 1)
        rest = main or ConstantLR(optimizer, factor=1.0)
        return SequentialLR(optimizer, [rise, rest], milestones=[self.warmup])

    def _main(self, optimizer: optim.Optimizer, updates: int) -> LRScheduler | None:
        if self.schedule == "cosine":
            return CosineAnnealingLR(optimizer, updates)
        if self.schedule == "linear":
            return LinearLR(optimizer, 1.0, 0.0, total_iters=updates)
        return None


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

    def optimizer(self, parameters: Parameters, fused: bool = True) -> optim.Optimizer:
        """Make the optimiser (see `Optim.optimizer`)."""
        betas = (self.beta1, self.beta2)
        return optim.AdamW(parameters, self.lr, betas, self.eps, self.weight_decay, fused=fused)


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

    def optimizer(self, parameters: Parameters, fused: bool = True) -> optim.Optimizer:
        """Make the optimiser (see `Optim.optimizer`)."""
        nesterov = self.nesterov and self.momentum > 0
        return optim.SGD(parameters, self.lr, self.momentum, 0, self.weight_decay, nesterov, fused=fused)
