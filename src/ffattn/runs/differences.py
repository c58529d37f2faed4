"""In what the settings of two runs differ."""

import dataclasses
from itertools import chain
from typing import Any, NamedTuple

from ffattn.settings import TARGET, Settings, find_class

# settings that a resumed run must not change
_FIXED = ("task", "model", "optim", "seed", "batch_size", "precision", "init_from")
# likewise, of `trainer`
_FIXED_TRAINER = ("validate_every", "sequences", "accumulate", "gradient_clip", "ema_decay", "distinct_batches")


class Difference(NamedTuple):
    """A setting in which two runs differ.

    Attributes:
        key: Its name, such as `optim.lr`.
        new: Its value in the run that is asked for, as text.
        old: Its value in the run that is there, as text.
    """

    key: str
    new: str
    old: str

    def line(self, place: str) -> str:
        """Say it in one line.

        Args:
            place: What the old value was found in.
        """
        return f"{self.key}={self.new}: {place} has {self.old}"


def decisive_differences(now: dict[str, Any], before: dict[str, Any]) -> list[Difference]:
    """List the settings in which two runs differ and which decide about their curves.

    Args:
        now: Plain settings of the run that is asked for.
        before: Likewise of the run that is there.
    """
    found = [differences(key, now[key], before[key]) for key in _FIXED]
    new = now["trainer"]
    old = before["trainer"]
    found += [differences(f"trainer.{key}", new[key], old[key]) for key in _FIXED_TRAINER]
    return list(chain.from_iterable(found))


def differences(key: str, new: Any, old: Any) -> list[Difference]:
    """List the settings in which two plain settings differ.

    Args:
        key: Their common key, or nothing for roots.
        new: One of them.
        old: The other. What it lacks was its default, since there was no such setting when it was written.
    """
    if not (isinstance(new, dict) and isinstance(old, dict)):
        return [Difference(key, _as_text(new), _as_text(old))] if new != old else []
    if new.get(TARGET) != old.get(TARGET):
        return [Difference(key, _as_text(new.get(TARGET)), _as_text(old.get(TARGET)))]
    before = _defaults(new.get(TARGET)) | old
    inner = [(f"{key}.{name}" if key else name, name) for name in sorted(new.keys() | old.keys())]
    return [found for path, name in inner for found in differences(path, new.get(name), before.get(name))]


def _defaults(target: str | None) -> dict[str, Any]:
    """Return the plain values that settings of a class have unless they are given."""
    fields = [] if target is None else dataclasses.fields(find_class(target, Settings))
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def _as_text(value: object) -> str:
    return "null" if value is None else str(value)
