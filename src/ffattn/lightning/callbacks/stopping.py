"""When training ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ffattn.lightning.callbacks.validations import Validations


@dataclass(frozen=True)
class StopRule:
    """Say why training ends, if it does.

    Attributes:
        updates: It ends after so many.
        when_solved: Whether it ends at the first validation with accuracy 1.
        patience: It ends after so many validations without a better one; None for no such end.
        min_updates: The fewest updates after which patience may end it: a pass over little data is a few updates.
        to_beat: Asked at every validation for a number of updates at which training ends (None: not yet).
    """

    updates: int
    when_solved: bool = True
    patience: int | None = None
    min_updates: int = 0
    to_beat: Callable[[], int | None] | None = None

    def reason(self, trainer: Any, validations: Validations) -> str | None:
        """Return why training ends after a validation, or None if it goes on; called by all processes.

        Args:
            trainer: Lightning's, or what a member of a stack has for one.
            validations: Those that have been made.
        """
        if self.when_solved and validations.history["accuracy"][-1] == 1:
            return "solved"
        if self.to_beat is not None and _is_beaten(trainer, self.to_beat()):
            return "raced"
        if trainer.global_step >= self.updates:
            return "updates"
        is_patient = self.patience is None or validations.since_best < self.patience
        if not is_patient and trainer.global_step >= self.min_updates:
            return "patience"
        return None


def _is_beaten(trainer: Any, updates: int | None) -> bool:
    """Return whether so many updates have been made; the first process decides, as others look at other moments."""
    limit = trainer.strategy.broadcast(updates)
    return limit is not None and trainer.global_step >= limit
