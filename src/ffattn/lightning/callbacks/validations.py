"""The validations of a run: what each one measured, and which was the best."""

from typing import Any

HISTORY = "update", "accuracy", "error"  # what is kept of every validation


class Validations:
    """Remember every validation, and the best one.

    Args:
        by_error: Whether a smaller error is better, as in training on given data; else a higher accuracy is better, and
            among equals a smaller error.
    """

    def __init__(self, by_error: bool = False) -> None:
        self.by_error = by_error
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.best: dict[str, float] = {}

    def restore(self, about: dict[str, Any]) -> None:
        """Take up those of the run that is resumed.

        Args:
            about: What a checkpoint says about its run.
        """
        self.best = about["best"]
        known = about.get("history", self.history)  # earlier versions kept none
        self.history = {name: list(values) for name, values in known.items()}

    def add(self, scores: dict[str, float]) -> bool:
        """Add a validation; return whether it is the best so far.

        Args:
            scores: What it measured, and the `update` after which it was.
        """
        for name, values in self.history.items():
            values.append(scores[name])
        is_best = not self.best or self._rank(scores) > self._rank(self.best)
        if is_best:
            self.best = scores
        return is_best

    def _rank(self, scores: dict[str, float]) -> tuple[float, ...]:
        """Return what is larger for a better validation."""
        return (-scores["error"],) if self.by_error else (scores["accuracy"], -scores["error"])

    @property
    def since_best(self) -> int:
        """How many validations have come after the best one."""
        return sum(update > self.best["update"] for update in self.history["update"])
