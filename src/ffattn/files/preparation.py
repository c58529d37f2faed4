"""What is known of a file's columns: enough to make a network's inputs and targets of them.

Everything is fitted on training sequences alone (`ffattn.files.fitting`), and kept in the checkpoint.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ffattn.files.values import texts_of
from ffattn.system.lazy import Int

NUMBER = "number"
CATEGORY = "category"
WORD = "word"

REFUSE = "refuse"
IMPUTE = "impute"
MASK = "mask"
MISSING = (REFUSE, IMPUTE, MASK)
_TRUTH = {"true", "false"}

ID = "id"  # columns of a file of answers, beside the targets
PROBLEM = "problem"
WEIGHTS = "weights"
WORDS = "words"


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

    def encode(self, column: np.ndarray) -> Int[np.ndarray, " value"]:
        """Return the numbers of categories or words, 0 for what is unknown or missing.

        Args:
            column: Some values.
        """
        places = {value: place for place, value in enumerate(self.values, start=1)}
        return np.array([places.get(text or "", 0) for text in texts_of(column)], dtype=np.int64)


@dataclass(frozen=True)
class Target:
    """How a column becomes a target: minus `mean`, divided by `scale`; both of the training sequences."""

    name: str
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Preparation:
    """How a file becomes batches (see `ffattn.files.preprocessing`).

    Attributes:
        features: The columns: numbers first, then categories.
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
    def text_columns(self) -> tuple[str, ...]:
        """Columns that were text in training; those of truth values were not, and are read as what they look like."""
        symbols = (feature for feature in self.symbols if feature.kind == WORD or not _TRUTH.issuperset(feature.values))
        return tuple(feature.name for feature in symbols)

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input of the network is: numbers, then the flags of those that have one, then categories."""
        flags = (f"{feature.name} is missing" for feature in self.numbers if feature.is_flagged)
        return (*(feature.name for feature in self.numbers), *flags, *(feature.name for feature in self.symbols))

    @property
    def categories(self) -> tuple[int, ...]:
        """How many numbers each of the last inputs may have, 0 for the unknown included."""
        return tuple(len(feature.values) + 1 for feature in self.symbols)

    def plain(self) -> dict[str, Any]:
        """Return plain values, which a checkpoint can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Preparation":
        """Return what `plain` was made from.

        Args:
            plain: Plain values.
        """
        features = (Feature(**{**feature, "values": tuple(feature["values"])}) for feature in plain["features"])
        targets = (Target(**target) for target in plain["targets"])
        return cls(tuple(features), tuple(targets), tuple(plain["classes"]), plain["missing"], tuple(plain["columns"]))


def answer_columns(preparation: Preparation, weights: bool = False) -> list[str]:
    """Return the columns of a file of answers.

    Args:
        preparation: How predictions become columns.
        weights: Whether attention weights are among them, and for texts the words that they belong to.
    """
    probabilities = [f"p_{name}" for name in preparation.classes]
    are_words = any(feature.kind == WORD for feature in preparation.features)
    attention = ([WORDS] if are_words else []) + [WEIGHTS] if weights else []
    return [ID, *(target.name for target in preparation.targets), *probabilities, *attention, PROBLEM]
