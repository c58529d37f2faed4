"""Equal sequences become one that counts as much as all of them together.

So a weight of 2 is exactly two copies and one of 0 none, the order of the rows changes nothing, and no sequence is on
both sides of a split into training and validation.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from ffattn.system.lazy import Float, Int

VAL = "val"
TRAIN = "train"


class Distinct(NamedTuple):
    """Sequences that differ, in an order that depends on them and a seed alone.

    Attributes:
        places: Where the first of each is.
        weights: How much each counts, (distinct,), more than 0.
    """

    places: Int[np.ndarray, " distinct"]
    weights: Float[np.ndarray, " distinct"]


def find_distinct(
    sequences: list[np.ndarray], y: np.ndarray, weights: Float[np.ndarray, " sequence"], seed: int
) -> Distinct:
    """Return the sequences that differ, without those that do not count.

    Args:
        sequences: (time, feature) each, in float64.
        y: Their targets, numbers; sequences with different targets are different.
        weights: How much each counts.
        seed: Of the order.
    """
    found: dict[bytes, list[int]] = {}
    for place in np.flatnonzero(weights).tolist():
        digest = hashlib.blake2b((sequences[place] + 0.0).tobytes(), digest_size=16, key=seed.to_bytes(8))
        digest.update(f"{sequences[place].shape}{np.asarray(y[place]).tolist()}".encode())
        found.setdefault(digest.digest(), []).append(place)
    groups = [found[key] for key in sorted(found)]
    return Distinct(
        np.array([group[0] for group in groups], dtype=np.int64),
        np.array([weights[group].sum() for group in groups], dtype=np.float64),
    )


def divide(groups: Int[np.ndarray, " sequence"], share: float) -> list[str]:
    """Return `train` or `val` for each sequence; the first of each group is for training.

    Args:
        groups: The class of each sequence, or the same number for all of them.
        share: Of each group, for validation.
    """
    parts = np.full(len(groups), TRAIN, dtype=object)
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        count = min(round(share * len(members)), len(members) - 1)
        parts[members[len(members) - count :]] = VAL
    return parts.tolist()
