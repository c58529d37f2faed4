"""Values of features that cannot be used, with the place of each."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ffattn.errors import DataError
from ffattn.files.preparation import CATEGORY, NUMBER, REFUSE, Feature, Preparation
from ffattn.files.sequences import RawSequences
from ffattn.files.values import parse_numbers, texts_of

_NO_VALUE = "no value"


@dataclass(frozen=True)
class Fault:
    """A mistake in a feature.

    Attributes:
        name: The feature.
        steps: Whether each step has it.
        problem: In words.
    """

    name: str
    steps: Bool[np.ndarray, " step"]
    problem: str

    def at(self, raw: RawSequences, step: int | None = None) -> str:
        """Describe it at some step, or at the first one that has it."""
        step = int(np.flatnonzero(self.steps)[0]) if step is None else step
        value = raw.features[self.name][step]
        shown = self.problem if self.problem == _NO_VALUE else f"{value} {self.problem}"
        return f"{raw.where(step, self.name)}: {shown}"


def find_faults(preparation: Preparation, raw: RawSequences, is_strict: bool = False) -> list[Fault]:
    """Return what is wrong with values of features.

    Args:
        preparation: What is known of the columns.
        raw: Sequences with these features.
        is_strict: Whether an unknown category is wrong, instead of being one of the unknown ones; words are not.

    Returns:
        For each feature and kind of mistake the steps where it is made.
    """
    faults: list[Fault] = []
    for feature in preparation.features:
        faults += _faults_of(feature, raw, is_strict, preparation.missing == REFUSE)
    return [fault for fault in faults if fault.steps.any()]


def _faults_of(feature: Feature, raw: RawSequences, is_strict: bool, refuses_gaps: bool) -> list[Fault]:
    column = raw.features[feature.name]
    faults = []
    if feature.kind == NUMBER:
        numbers, is_text = parse_numbers(column)
        faults.append(Fault(feature.name, is_text, "is no number"))
        faults.append(Fault(feature.name, np.isinf(numbers), "is not finite"))
        faults.append(Fault(feature.name, _is_far(feature, numbers), "is too far from the numbers of training"))
        gaps = np.isnan(numbers) & ~is_text
    else:
        gaps = np.array([text is None for text in texts_of(column)], dtype=bool)
    if is_strict and feature.kind == CATEGORY:
        unknown = (feature.encode(column) == 0) & ~gaps
        faults.append(Fault(feature.name, unknown, "has not occurred in training"))
    if refuses_gaps:
        faults.append(Fault(feature.name, gaps, _NO_VALUE))
    return faults


def _is_far(feature: Feature, numbers: Float[np.ndarray, " step"]) -> Bool[np.ndarray, " step"]:
    """Whether single precision, in which networks take their inputs, has no such number once it is standardized."""
    with np.errstate(over="ignore"):
        sizes = np.abs(numbers - feature.mean) / feature.scale
    return np.asarray((sizes > np.finfo(np.float32).max) & np.isfinite(numbers))


def refuse_faults(preparation: Preparation, raw: RawSequences) -> None:
    """Refuse values that cannot be used.

    Args:
        preparation: What is known of the columns.
        raw: Sequences with these features.

    Raises:
        DataError: Names the first one, and says how many there are.
    """
    for fault in find_faults(preparation, raw):
        advice = "; missing=impute or missing=mask would take them" if fault.problem == _NO_VALUE else ""
        raise DataError(f"{fault.at(raw)} ({fault.steps.sum()} in all){advice}")
