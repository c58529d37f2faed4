"""Fit a preparation on training sequences."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ffattn.errors import DataError
from ffattn.files.moments import ColumnMoments, refuse_rounding
from ffattn.files.notation import NO_NUMBER_AMONG_NUMBERS, other_notation
from ffattn.files.preparation import CATEGORY, MASK, NUMBER, REFUSE, WORD, Feature, Preparation, Target, answer_columns
from ffattn.files.sequences import RawSequences
from ffattn.files.targets import are_numbers, class_names, numbers_of
from ffattn.files.values import is_number, is_text_type, parse_numbers, texts_of
from ffattn.system.lazy import Bool

AUTO = "auto"
REGRESSION = "regression"
CLASSIFICATION = "classification"
_MOST_CLASSES = 20  # with more different whole numbers a target is a quantity


class FitRule(NamedTuple):
    """What is fitted.

    Attributes:
        targets: The columns to be predicted.
        kind: `regression`, `classification`, or `auto`: classification of text, and of a single column that holds at
            most 20 different whole numbers.
        missing: One of `ffattn.files.preparation.MISSING`.
        max_categories: The most values of a feature that have a number of their own: the most frequent ones.
    """

    targets: tuple[str, ...]
    kind: str = AUTO
    missing: str = REFUSE
    max_categories: int = 10_000


def fit_preparation(
    raw: RawSequences,
    training: Bool[np.ndarray, " sequence"],
    rule: FitRule,
    pieces: Iterable[RawSequences] | None = None,
) -> Preparation:
    """Fit the preparation on the training sequences.

    Args:
        raw: All sequences; or what is known of them beside their features, if those come in pieces.
        training: Which of them are for training.
        rule: What is fitted.
        pieces: The sequences with their features, some at a time; all of them in the order of `raw`.

    Raises:
        DataError: A feature is a mixture of numbers and text, a target cannot be what it is to be, or a target has the
            name of another column of the answers.
    """
    columns: dict[str, _ColumnStatistics] = {}
    used: tuple[str, ...] = ()
    done = 0
    for piece in [raw] if pieces is None else pieces:
        steps = np.repeat(training[done : done + len(piece)], piece.lengths)
        used = piece.used
        done += len(piece)
        for name in piece.features:
            columns.setdefault(name, _ColumnStatistics(name)).update(piece, steps)
    features = [column.feature(rule) for column in columns.values()]
    numbers_first = tuple(sorted(features, key=lambda feature: feature.kind != NUMBER))
    if _is_classification(raw, rule):
        target = rule.targets[0]
        classes = _classes(raw, target, training)
        return _refuse_collisions(raw, Preparation(numbers_first, (Target(target),), classes, rule.missing, used))
    targets = tuple(_fit_target(raw, name, training) for name in rule.targets)
    return _refuse_collisions(raw, Preparation(numbers_first, targets, (), rule.missing, used))


@dataclass
class _ColumnStatistics:
    """What the training steps of a feature hold, seen in pieces.

    Attributes:
        name: The feature.
        kind: `number` until text is seen.
        has_gaps: Whether a number is missing, at any step.
        moments: Of the numbers.
        texts: How often each text occurs.
        numbers_as_text: How many of the texts are numbers, at any step.
        other_texts: How many are not.
        first_text: Where the first of those is.
    """

    name: str
    kind: str = NUMBER
    has_gaps: bool = False
    moments: ColumnMoments = field(default_factory=ColumnMoments)
    texts: Counter[str] = field(default_factory=Counter)
    numbers_as_text: int = 0
    other_texts: int = 0
    first_text: str = ""

    def update(self, raw: RawSequences, steps: Bool[np.ndarray, " step"]) -> None:
        """Take in some sequences.

        Args:
            raw: Sequences with this feature.
            steps: Which of their steps are for training.
        """
        column = raw.features[self.name]
        if column.dtype != object:
            self.has_gaps |= bool(np.isnan(column).any())
            self.moments.update(column, steps, lambda step: raw.where(step, self.name))
            return
        self.kind = WORD if raw.are_words else CATEGORY
        if self.kind == CATEGORY:
            self._count_numbers(raw, column, steps)
        self.texts.update(text for text in column[steps] if text is not None)

    def _count_numbers(self, raw: RawSequences, column: np.ndarray, steps: Bool[np.ndarray, " step"]) -> None:
        numbers, is_text = parse_numbers(column)
        is_numeric = ~np.isnan(numbers)
        self.has_gaps |= bool((~is_numeric & ~is_text).any())
        self.moments.update(numbers, steps, lambda step: raw.where(step, self.name))
        if is_text.any() and not self.first_text:
            step = int(np.flatnonzero(is_text)[0])
            self.first_text = f"{raw.where(step, self.name)}: {column[step]!r}"
        self.numbers_as_text += int(is_numeric.sum())
        self.other_texts += int(is_text.sum())

    def feature(self, rule: FitRule) -> Feature:
        """Return how the column becomes inputs.

        Args:
            rule: What is fitted.

        Raises:
            DataError: A few words among numbers: that is a mistake rather than a category; or numbers in a form that
                is not read.
        """
        if self.kind == NUMBER or self._is_quantity():
            is_flagged = rule.missing == MASK and self.has_gaps
            scale = self.moments.scale(f"column {self.name}")
            return Feature(self.name, NUMBER, self.moments.all.mean, scale, is_flagged)
        if self.kind == CATEGORY and (advice := other_notation(self.texts)):
            raise DataError(f"{self.first_text} looks like a number or a time, and {advice}")
        if self.numbers_as_text > self.other_texts > 0:
            raise DataError(f"{self.first_text} {NO_NUMBER_AMONG_NUMBERS}")
        frequent = sorted(self.texts, key=lambda text: (-self.texts[text], text))[: rule.max_categories]
        return Feature(self.name, self.kind, values=tuple(sorted(frequent)))

    def _is_quantity(self) -> bool:
        """Whether texts are all numbers and more than codes are: with fractions, or many; codes have leading zeros."""
        if self.other_texts or not self.numbers_as_text or any(re.match(r"\s*0\d", text) for text in self.texts):
            return False
        are_whole = all(re.fullmatch(r"\s*[+-]?\d+\s*", text) for text in self.texts)
        return not are_whole or len(self.texts) > _MOST_CLASSES


def _is_classification(raw: RawSequences, rule: FitRule) -> bool:
    if rule.kind == CLASSIFICATION and len(rule.targets) > 1:
        raise DataError(f"{raw.path}: classification has one target; give one of {', '.join(rule.targets)}")
    if rule.kind != AUTO or len(rule.targets) > 1:
        return rule.kind == CLASSIFICATION
    if not are_numbers(raw, rule.targets[0]):
        _refuse_notation(raw, rule.targets[0])
        return True
    column = raw.columns[rule.targets[0]]
    numbers = parse_numbers(column).numbers
    known = numbers[np.isfinite(numbers)]
    is_text = is_text_type(column.type)  # whole numbers as text are names, unless most of them differ
    most = max(_MOST_CLASSES, len(known) // 2) if is_text else _MOST_CLASSES
    return bool((known == np.round(known)).all() and len(np.unique(known)) <= most)


def _refuse_notation(raw: RawSequences, name: str) -> None:
    """Refuse text that looks like a number, or stands among numbers, unless somebody has called it a class."""
    known = [(sequence, text) for sequence, text in enumerate(texts_of(raw.columns[name])) if text is not None]
    words = [(sequence, text) for sequence, text in known if not is_number(text)]
    advice = other_notation({text for _, text in known})
    if advice:
        problem = f"looks like a number or a time, and {advice}"
    elif len(known) > 2 * len(words) and len({text for _, text in known}) > _MOST_CLASSES:
        problem = NO_NUMBER_AMONG_NUMBERS
    else:
        return
    sequence, text = words[0]
    raise DataError(f"{raw.at(sequence, name)}: {text!r} {problem}; task.kind=classification takes it for a class")


def _classes(raw: RawSequences, name: str, training: np.ndarray) -> tuple[str, ...]:
    texts = np.array(class_names(raw, name), dtype=object)
    classes = sorted(
        set(texts[training]), key=lambda text: (not is_number(text), float(text) if is_number(text) else 0, text)
    )
    if len(classes) < 2:
        raise DataError(f"{raw.path}, column {name}: has a single class among the training sequences, {classes[0]}")
    return tuple(classes)


def _fit_target(raw: RawSequences, name: str, training: np.ndarray) -> Target:
    refuse_rounding(raw.columns[name], f"{raw.path}, column {name}")
    moments = ColumnMoments()
    moments.update(numbers_of(raw, name), training, lambda sequence: raw.at(sequence, name))
    return Target(name, moments.all.mean, moments.scale(f"{raw.path}, column {name}"))


def _refuse_collisions(raw: RawSequences, preparation: Preparation) -> Preparation:
    """Return the preparation, unless two columns of a file of answers would have one name."""
    names = answer_columns(preparation, weights=True)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        problem = "is needed for the answers (id, words, weights, problem, and p_CLASS for each class)"
        raise DataError(f"{raw.path}, target {twice[0]}: the name {problem}; give each target a name of its own")
    return preparation
