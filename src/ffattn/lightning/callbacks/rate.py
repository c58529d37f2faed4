"""How fast a run is."""

import time


class UpdateRate:
    """Measure updates per second between two looks.

    Attributes:
        value: The last measured rate; zero, which means unknown, before the second look.
    """

    def __init__(self) -> None:
        self.update: int | None = None
        self.time = 0.0
        self.value = 0.0

    def look(self, update: int) -> float:
        """Return the rate since the last look, or the last known one if nothing has been done since.

        Args:
            update: How many updates have been made.
        """
        now = time.monotonic()
        if self.update is not None and update > self.update:
            self.value = (update - self.update) / max(now - self.time, 1e-9)
        self.update = update
        self.time = now
        return self.value
