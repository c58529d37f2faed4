"""A logger that fails is one line, and ends the run, or only itself."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ffattn.errors import TrainingError, reason_of


@dataclass
class LoggerGuard:
    """Says in one line that a logger failed, which ends the run, or only the logger.

    Attributes:
        kind: Which one.
        folder: The run directory.
        is_optional: Whether the run goes on.
        has_failed: Whether the logger is not called any more.
    """

    kind: str
    folder: Path
    is_optional: bool
    has_failed: bool = False

    def call(self, method: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call what writes, and return what it does; None if it fails, or something failed before.

        Args:
            method: Makes the logger, or is one of its methods.
            *arguments: Its arguments.
            **options: Likewise.

        Raises:
            TrainingError: It failed, and the run is not to go on.
        """
        if self.has_failed:
            return None
        try:
            return method(*arguments, **options)
        except Exception as error:  # a logger's can be anything
            self.has_failed = True
            message = f"{self.folder}: logger={self.kind} cannot write curves: {reason_of(error)}"
            if not self.is_optional:
                advice = "the last checkpoint is whole; logger.on_error=ignore goes on without curves"
                raise TrainingError(f"{message}; {advice}") from error
            print(f"{message}; going on without", file=sys.stderr)
            return None


class GuardedLogger(Logger):
    """Lets a guard call whatever a logger writes with.

    Args:
        inner: The logger.
        guard: Its guard, which may have made it.
    """

    def __init__(self, inner: Logger, guard: LoggerGuard) -> None:
        super().__init__()
        self.inner: Any = inner
        self.guard = guard

    @property
    def name(self) -> str | None:
        """The logger's."""
        name: str | None = self.inner.name
        return name

    @property
    def version(self) -> int | str | None:
        """The logger's."""
        version: int | str | None = self.inner.version
        return version

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.guard.folder)

    @property
    def experiment(self) -> Any:
        """What the logger writes with, for pictures and the like."""
        return self.inner.experiment

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log numbers.

        Args:
            metrics: Numbers by name.
            step: The update that they belong to.
        """
        self.guard.call(self.inner.log_metrics, metrics, step)

    def log_hyperparams(self, params: Any, *arguments: Any, **options: Any) -> None:
        """Log settings.

        Args:
            params: Values by name.
            *arguments: See the logger.
            **options: Likewise.
        """
        self.guard.call(self.inner.log_hyperparams, params, *arguments, **options)

    def save(self) -> None:
        """Write what is held back."""
        self.guard.call(self.inner.save)

    def finalize(self, status: str) -> None:
        """Close the logger.

        Args:
            status: How the run ended: `success` or `failed`.
        """
        self.guard.call(self.inner.finalize, status)
