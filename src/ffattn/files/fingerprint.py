"""What tells whether a file still holds the sequences of training, in the same parts."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ffattn.files.sequences import RawSequences
from ffattn.files.values import texts_of
from ffattn.system.lazy import Int

_BYTES = 8  # of a digest
_MOST_COLUMNS = 5  # that are named


class Fingerprint:
    """Digests of everything that is read from a file, by column; they depend on the values, not on the file's time.

    Sequences may come in pieces. The rows of a file may change their order as long as its sequences and steps do not.
    """

    def __init__(self) -> None:
        self.sequences = 0
        self.steps = 0
        self._hashes: dict[str, dict[str, Any]] = {"inputs": {}, "columns": {}, "sequences": {}}

    def update(self, raw: RawSequences) -> "Fingerprint":
        """Take in some sequences, and return this object.

        Args:
            raw: The next sequences of the file.
        """
        self.sequences += len(raw)
        self.steps += int(raw.lengths.sum())
        kinds = {"inputs": raw.features, "columns": raw.columns, "sequences": {"ids": raw.ids, "lengths": raw.lengths}}
        for kind, columns in kinds.items():
            for name, values in columns.items():
                own = self._hashes[kind].setdefault(name, hashlib.blake2b(digest_size=_BYTES))
                own.update(_as_bytes(values))
        return self

    def taken_of(self, pieces: Iterable[RawSequences]) -> Iterator[RawSequences]:
        """Take in sequences as they pass.

        Args:
            pieces: Some sequences after the other: all of the file.
        """
        for raw in pieces:
            self.update(raw)
            yield raw

    def plain(self, parts: Int[np.ndarray, " sequence"]) -> dict[str, Any]:
        """Return plain values, which a checkpoint can hold.

        Args:
            parts: The part of each sequence.
        """
        digests = {
            kind: {name: own.hexdigest() for name, own in sorted(hashes.items())}
            for kind, hashes in self._hashes.items()
        }
        counts = {"num_sequences": self.sequences, "num_steps": self.steps}
        own = hashlib.blake2b(_as_bytes(parts.astype(np.int64)), digest_size=_BYTES)
        return counts | digests | {"parts": own.hexdigest()}


def _as_bytes(values: Any) -> bytes:
    """Bytes of an array; of text, or of a pyarrow array, those of the values as text."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return np.ascontiguousarray(values).tobytes()
    return "".join(map(repr, texts_of(values))).encode()


def changes(now: dict[str, Any], before: dict[str, Any]) -> str:
    """Say in what two files differ; nothing if they do not.

    Args:
        now: The fingerprint of what is read now, in plain values.
        before: That of training.
    """
    found = [
        f"{now[count]} {noun} instead of {before[count]}"
        for count, noun in {"num_sequences": "sequences", "num_steps": "steps"}.items()
        if now[count] != before[count]
    ]
    if not found and now["sequences"] != before["sequences"]:
        found.append("other sequences, or in another order")
    changed = [
        name
        for kind in ("inputs", "columns")
        for name in now[kind].keys() | before[kind].keys()
        if now[kind].get(name) != before[kind].get(name)
    ]
    if not found and changed:
        more = f" and {len(changed) - _MOST_COLUMNS} more" if len(changed) > _MOST_COLUMNS else ""
        found.append(f"other values of {', '.join(sorted(changed)[:_MOST_COLUMNS])}{more}")
    if not found and now["parts"] != before["parts"]:
        found.append("the same sequences, split otherwise")
    return ", ".join(found)
