"""From what stands in a file to what a network reads: scaled numbers, numbers for categories, targets.

Everything is fitted on training sequences alone, and kept in the checkpoint.
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ffattn.errors import DataError
from ffattn.files.layouts import Raw

NUMBER, CATEGORY, WORD = "number", "category", "word"
REFUSE, IMPUTE, MASK = "refuse", "impute", "mask"
MISSING = (REFUSE, IMPUTE, MASK)
REGRESSION, CLASSIFICATION = "regression", "classification"
_MOST_CLASSES = 20  # with more different whole numbers a target is a quantity


@dataclass(frozen=True)
class Feature:
    """How a column becomes inputs.

    Attributes:
        name: The column.
        kind: `number`, `category` or `word`.
        mean: Of the training steps, for numbers.
        scale: Their standard deviation, or 1 if that is 0.
        is_flagged: Whether one more input tells where a value is missing.
        values: The known categories or words; a value's number is its place, from 1, and 0 stands for all others.
    """

    name: str
    kind: str
    mean: float = 0.0
    scale: float = 1.0
    is_flagged: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """How a column becomes a target: minus `mean`, divided by `scale`; both of the training sequences."""

    name: str
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Preparation:
    """How a file becomes batches.

    Attributes:
        features: The inputs: numbers first, then the flags of those that have one, then categories.
        targets: What is predicted: several columns in regression, one in classification.
        classes: The names of the classes, in their order; none in regression.
        missing: `refuse`, `impute` (the mean, or no category) or `mask` (likewise, with a flag).
        columns: The columns of a file that the features are read from: in wide form several for each.
    """

    features: tuple[Feature, ...]
    targets: tuple[Target, ...]
    classes: tuple[str, ...] = ()
    missing: str = REFUSE
    columns: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[Feature, ...]:
        """Features that are numbers."""
        return tuple(feature for feature in self.features if feature.kind == NUMBER)

    @property
    def symbols(self) -> tuple[Feature, ...]:
        """Features that are categories or words."""
        return tuple(feature for feature in self.features if feature.kind != NUMBER)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input of the network is."""
        flags = (f"{feature.name} is missing" for feature in self.numbers if feature.is_flagged)
        return (*(feature.name for feature in self.numbers), *flags, *(feature.name for feature in self.symbols))

    @property
    def categories(self) -> tuple[int, ...]:
        """How many numbers each of the last inputs may have, 0 for the unknown included."""
        return tuple(len(feature.values) + 1 for feature in self.symbols)

    def plain(self) -> dict[str, Any]:
        """Plain values, which a checkpoint can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Preparation":
        """What `plain` was made from.

        Args:
            plain: Plain values.
        """
        features = (Feature(**{**feature, "values": tuple(feature["values"])}) for feature in plain["features"])
        targets = (Target(**target) for target in plain["targets"])
        return cls(tuple(features), tuple(targets), tuple(plain["classes"]), plain["missing"], tuple(plain["columns"]))

    def inputs(self, raw: Raw) -> Float[np.ndarray, "step feature"]:
        """The inputs of all steps; what is wrong with them has been looked for by `faults`.

        Args:
            raw: Sequences with these features.
        """
        flagged = [feature for feature in self.numbers if feature.is_flagged]
        inputs = np.empty((raw.offsets[-1], len(self.numbers) + len(flagged) + len(self.symbols)), np.float32)
        columns = iter(inputs.T)  # one after the other: copies of all of them would be most of the memory
        for feature in self.numbers:
            scaled = (parsed(raw.features[feature.name])[0] - feature.mean) / feature.scale
            next(columns)[:] = np.nan_to_num(scaled, copy=False, nan=0.0)
        for feature in flagged:
            next(columns)[:] = np.isnan(parsed(raw.features[feature.name])[0])
        for feature in self.symbols:
            next(columns)[:] = _places(raw, feature)
        return inputs

    def faults(self, raw: Raw, is_strict: bool = False) -> "list[Fault]":
        """What is wrong with values of features.

        Args:
            raw: Sequences with these features.
            is_strict: Whether an unknown category is wrong, instead of being one of the unknown ones; words are not.

        Returns:
            For each feature and kind of mistake the steps where it is made.
        """
        faults = []
        for feature in self.features:
            column = raw.features[feature.name]
            if feature.kind == NUMBER:
                numbers, is_text = parsed(column)
                faults.append(Fault(feature.name, is_text, "is no number"))
                faults.append(Fault(feature.name, np.isinf(numbers), "is not finite"))
                gaps = np.isnan(numbers) & ~is_text
            else:
                gaps = np.array([text is None for text in texts_of(column)], dtype=bool)
            if is_strict and feature.kind == CATEGORY:
                unknown = (_places(raw, feature) == 0) & ~gaps
                faults.append(Fault(feature.name, unknown, "has not occurred in training"))
            if self.missing == REFUSE:
                faults.append(Fault(feature.name, gaps, "no value"))
        return [fault for fault in faults if fault.steps.any()]

    def check(self, raw: Raw) -> None:
        """Refuse values that cannot be used.

        Args:
            raw: Sequences with these features.

        Raises:
            DataError: Names the first one, and says how many there are.
        """
        for fault in self.faults(raw):
            advice = "; missing=impute or missing=mask would take them" if fault.problem == "no value" else ""
            raise DataError(f"{fault.at(raw)} ({fault.steps.sum()} in all){advice}")

    def answers(self, raw: Raw) -> np.ndarray:
        """Targets: (sequence, output) scaled numbers in regression, (sequence,) class numbers in classification.

        Args:
            raw: Sequences with these targets.

        Raises:
            DataError: A target is missing, of another type, or a class that there was not in training.
        """
        if self.classes:
            name = self.targets[0].name
            texts, places = class_names(raw, name), {text: place for place, text in enumerate(self.classes)}
            for sequence, text in enumerate(texts):
                if text not in places:
                    raise DataError(f"{raw.at(sequence, name)}: class {text} has not occurred in training")
            return np.array([places[text] for text in texts], dtype=np.int64)
        columns = [(targets_of(raw, target.name) - target.mean) / target.scale for target in self.targets]
        return np.stack(columns, axis=1).astype(np.float32)


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

    def at(self, raw: Raw, step: int | None = None) -> str:
        """It in words, at some step, or at the first one that has it."""
        step = int(np.flatnonzero(self.steps)[0]) if step is None else step
        value = raw.features[self.name][step]
        shown = self.problem if self.problem == "no value" else f"{value} {self.problem}"
        return f"{raw.where(step, self.name)}: {shown}"


def _places(raw: Raw, feature: Feature) -> Int[np.ndarray, " step"]:
    """The numbers of categories, 0 for what is unknown or missing."""
    places = {value: place for place, value in enumerate(feature.values, start=1)}
    return np.array([places.get(text or "", 0) for text in texts_of(raw.features[feature.name])], dtype=np.int64)


def targets_of(raw: Raw, name: str) -> Float[np.ndarray, " sequence"]:
    """A column of the sequences as numbers, all of which are there.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: A value is missing, not finite, or text.
    """
    numbers, _ = parsed(raw.columns[name])
    if (bad := np.flatnonzero(~np.isfinite(numbers))).size:
        raise DataError(f"{raw.at(int(bad[0]), name)}: no finite number")
    return numbers


def parsed(column: np.ndarray) -> tuple[Float[np.ndarray, " value"], Bool[np.ndarray, " value"]]:
    """Values as numbers, NaN where there are none; and which of them are text that is no number.

    Args:
        column: Values of a feature or of a column.
    """
    if column.dtype != object:
        return column, np.zeros(len(column), dtype=bool)
    is_text = np.array([text is not None and not _is_number(text) for text in column], dtype=bool)
    numbers = [np.nan if text is None or wrong else float(text) for text, wrong in zip(column, is_text, strict=True)]
    return np.array(numbers, dtype=np.float64), is_text


def texts_of(column: np.ndarray) -> list[str | None]:
    """Categories as text; a whole number without a fraction, None where there is no value.

    Args:
        column: Values of a feature or of a column.
    """
    if column.dtype == object:
        return list(column)
    return [
        None if np.isnan(value) else f"{int(value)}" if value == int(value) else repr(value)
        for value in column.tolist()
    ]


def class_names(raw: Raw, name: str) -> list[str]:
    """The class of each sequence.

    Args:
        raw: Sequences.
        name: The column.

    Raises:
        DataError: One has none.
    """
    texts = texts_of(raw.columns[name])
    for sequence, text in enumerate(texts):
        if text is None:
            raise DataError(f"{raw.at(sequence, name)}: no class")
    return [str(text) for text in texts]


def fit(
    raw: Raw,
    training: Bool[np.ndarray, " sequence"],
    targets: tuple[str, ...],
    kind: str = "auto",
    missing: str = REFUSE,
    *,
    most_categories: int = 10_000,
    pieces: Iterable[Raw] | None = None,
) -> Preparation:
    """Fit the preparation on the training sequences.

    Args:
        raw: All sequences; or what is known of them beside their features, if those come in pieces.
        training: Which of them are for training.
        targets: The columns to be predicted.
        kind: `regression`, `classification`, or `auto`: classification of text, and of a single column that holds at
            most 20 different whole numbers.
        missing: One of `MISSING`.
        most_categories: The most values of a feature that have a number of their own: the most frequent ones.
        pieces: The sequences with their features, some at a time; all of them in the order of `raw`.

    Raises:
        DataError: A feature is a mixture of numbers and text, or a target cannot be what it is to be.
    """
    columns: dict[str, _Column] = {}
    used: tuple[str, ...] = ()
    done = 0
    for piece in [raw] if pieces is None else pieces:
        steps, used = np.repeat(training[done : done + len(piece)], piece.lengths), piece.used
        done += len(piece)
        for name in piece.features:
            columns.setdefault(name, _Column(name)).see(piece, steps)
    features = [column.feature(missing, most_categories) for column in columns.values()]
    numbers_first = sorted(features, key=lambda feature: feature.kind != NUMBER)
    if _is_classification(raw, targets, kind):
        classes = _classes(raw, targets[0], training)
        return Preparation(tuple(numbers_first), (Target(targets[0]),), classes, missing, used)
    fitted = [_fit_target(raw, name, training) for name in targets]
    return Preparation(tuple(numbers_first), tuple(fitted), (), missing, used)


class _Column:
    """What the training steps of a feature hold, seen in pieces.

    Args:
        name: The feature.
    """

    def __init__(self, name: str) -> None:
        self.name, self.kind = name, NUMBER
        self.count, self.mean, self.variance, self.has_gaps = 0, 0.0, 1.0, False
        self.texts: Counter[str] = Counter()
        self.numbers, self.words, self.odd = 0, 0, ""

    def see(self, raw: Raw, steps: Bool[np.ndarray, " step"]) -> None:
        """Take in some sequences.

        Args:
            raw: Sequences with this feature.
            steps: Which of their steps are for training.
        """
        column = raw.features[self.name]
        if column.dtype != object:
            self.has_gaps |= bool(np.isnan(column).any())
            self._see_numbers(column[steps & np.isfinite(column)])
            return
        self.kind = WORD if raw.are_words else CATEGORY
        if self.kind == CATEGORY:
            self._look_for_mixture(raw, column)
        self.texts.update(text for text in column[steps] if text is not None)

    def _see_numbers(self, numbers: Float[np.ndarray, " number"]) -> None:
        if not numbers.size:
            return
        mean, variance = float(numbers.mean()), float(numbers.var())
        if not self.count:
            self.count, self.mean, self.variance = numbers.size, mean, variance
            return
        share, between = numbers.size / (self.count + numbers.size), mean - self.mean
        self.variance += share * (variance - self.variance) + share * (1 - share) * between**2
        self.mean, self.count = self.mean + share * between, self.count + numbers.size

    def _look_for_mixture(self, raw: Raw, column: np.ndarray) -> None:
        is_number = np.array([text is not None and _is_number(text) for text in column], dtype=bool)
        is_text = np.array([text is not None for text in column], dtype=bool) & ~is_number
        if is_text.any() and not self.odd:
            step = int(np.flatnonzero(is_text)[0])
            self.odd = f"{raw.where(step, self.name)}: {column[step]!r}"
        self.numbers, self.words = self.numbers + int(is_number.sum()), self.words + int(is_text.sum())

    def feature(self, missing: str, most_categories: int) -> Feature:
        """How the column becomes inputs.

        Args:
            missing: One of `MISSING`.
            most_categories: The most values that have a number of their own.

        Raises:
            DataError: A few words among numbers: that is a mistake rather than a category.
        """
        if self.kind == NUMBER:
            scale = math.sqrt(self.variance)
            is_flagged = missing == MASK and self.has_gaps
            scale = scale if scale > 1e-12 * max(1.0, abs(self.mean)) else 1.0
            return Feature(self.name, NUMBER, self.mean, scale, is_flagged)
        if self.numbers > self.words > 0:
            raise DataError(f"{self.odd} is no number, as most values of the column are")
        frequent = sorted(self.texts, key=lambda text: (-self.texts[text], text))[:most_categories]
        return Feature(self.name, self.kind, values=tuple(sorted(frequent)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_classification(raw: Raw, targets: tuple[str, ...], kind: str) -> bool:
    if kind == CLASSIFICATION and len(targets) > 1:
        raise DataError(f"{raw.path}: classification has one target; give one of {', '.join(targets)}")
    if kind != "auto" or len(targets) > 1:
        return kind == CLASSIFICATION
    column = raw.columns[targets[0]]
    if column.dtype == object:
        return True
    known = column[np.isfinite(column)]
    return bool((known == np.round(known)).all() and len(np.unique(known)) <= _MOST_CLASSES)


def _classes(raw: Raw, name: str, training: np.ndarray) -> tuple[str, ...]:
    texts = np.array(class_names(raw, name), dtype=object)
    classes = sorted(
        set(texts[training]), key=lambda text: (not _is_number(text), float(text) if _is_number(text) else 0, text)
    )
    if len(classes) < 2:
        raise DataError(f"{raw.path}, column {name}: has a single class among the training sequences, {classes[0]}")
    return tuple(classes)


def _fit_target(raw: Raw, name: str, training: np.ndarray) -> Target:
    numbers = targets_of(raw, name)[training]
    scale = float(numbers.std())
    return Target(name, float(numbers.mean()), scale if scale > 0 else 1.0)
