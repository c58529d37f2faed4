"""Values of features that cannot be used, with the place of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ffattn.errors import DataError
from ffattn.files.notation import other_notation
from ffattn.files.preparation import CATEGORY, NUMBER, REFUSE, Feature, Preparation
from ffattn.files.sequences import RawSequences
from ffattn.files.values import parse_numbers, texts_of
from ffattn.system.lazy import Bool, Float, Int

_NO_VALUE = "no value"
_NO_NUMBER = "is no number"
_MOST = 1e18  # standard deviations


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
        if self.problem == _NO_NUMBER and (advice := other_notation({str(value)})):
            shown = f"{value} {advice}"
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
        faults.append(Fault(feature.name, is_text, _NO_NUMBER))
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
    """Whether single precision, in which networks compute, has no square of such a number once it is standardized."""
    with np.errstate(over="ignore"):
        sizes = np.abs(numbers - feature.mean) / feature.scale
    return np.asarray((sizes > _MOST) & np.isfinite(numbers))


def refuse_faults(preparation: Preparation, raw: RawSequences) -> None:
    """Refuse values that cannot be used.

    Args:
        preparation: What is known of the columns.
        raw: Sequences with these features.

    Raises:
        DataError: Names the first one, and says how many there are.
    """
    refuse_faults_of_parts(preparation, [raw], np.zeros(len(raw), dtype=np.int64), ("in all",))


def refuse_faults_of_parts(
    preparation: Preparation, pieces: Iterable[RawSequences], parts: Int[np.ndarray, " sequence"], names: Sequence[str]
) -> None:
    """Refuse values that cannot be used, wherever in a file they are.

    Args:
        preparation: What is known of the columns.
        pieces: The sequences of the file, some at a time.
        parts: The part that each sequence belongs to.
        names: What each part is called.

    Raises:
        DataError: Names the first one, and says how many there are in each part.
    """
    first = None
    message = ""
    counts = np.zeros(len(names), dtype=np.int64)
    done = 0
    for raw in pieces:
        of_steps = np.repeat(parts[done : done + len(raw)], raw.lengths)
        done += len(raw)
        for fault in find_faults(preparation, raw):
            if first is None:
                first = fault
                message = fault.at(raw)
            if (fault.name, fault.problem) == (first.name, first.problem):
                steps = np.flatnonzero(fault.steps)
                if raw.spans is not None:  # a step may be in several windows
                    steps = steps[np.unique(raw.rows[steps], return_index=True)[1]]
                counts += np.bincount(of_steps[steps] % len(names), minlength=len(names))  # the last: in no part
    if first is not None:
        advice = "; missing=impute or missing=mask would take them" if first.problem == _NO_VALUE else ""
        shares = ", ".join(f"{count} {name}" for count, name in zip(counts, names, strict=True) if count)
        total = shares if len(names) == 1 else f"{counts.sum()} in all: {shares}"
        raise DataError(f"{message} ({total}){advice}")
