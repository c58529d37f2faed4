"""Sequences of the user's own, from arrays in memory."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ffattn.errors import DataError, SettingError
from ffattn.files import FileContents, FitRule, Layout, RawSequences, SplitRule
from ffattn.files.arrays import from_arrays, from_texts, plain_array, split_sequences
from ffattn.files.contents import contents_of
from ffattn.files.splits import TEST, TRAIN, VAL
from ffattn.rng.streams import Split
from ffattn.settings import setting
from ffattn.tasks.file import File
from ffattn.tasks.given import Given, Sequences
from ffattn.tasks.weights import SequenceWeights

# settings of files that arrays have no use for
_OF_FILES = (
    *("id", "time", "leave_out", "form", "unlabelled", "window_steps", "stride", "window", "header", "decimal"),
    "encoding",
)
_WEIGHTS = "weights"  # a column that tells whether they have changed


@dataclass
class Arrays(File):
    """Predict a number, several, or a class for each sequence of an array, as `File` does for those of a file.

        task = Arrays(x=x, y=y, val_share=0.2)
        run = ffattn.fit(task=task)

    The arrays are no settings: a checkpoint has none of them, and holds the same as that of a file with the columns
    `feature_0`, `feature_1`, ... in lists, and `y`. So an `.npz` of further sequences can be answered for.

    Args:
        x: (sequence, time), (sequence, time, feature), or a list of an array (time,) or (time, feature), or a table
            with columns by name, for each sequence; or a list of texts.
        y: Classes or numbers, (sequence,), or numbers, (sequence, output).
        lengths: How many steps of each are real, (sequence,); all if not given.
        weights: How much each sequence counts, (sequence,), at least 0: how often training sees it.
        columns: What `split_by` and `split` may name: one value for each sequence, by name.

    Attributes:
        path: What messages call the arrays.
        val_share: The share of sequences for validation; 0 to validate on those of training.
        test_share: The share for the test; 0 to test on those of validation, which is no measure of the result.
        features, kind, missing, split, split_by, split_seed, test_path, tokens, max_categories, tolerance, embedding:
            As of `File`. All its other settings are those of files.
    """

    name: ClassVar[str] = "arrays"

    path: str = "X"
    val_share: float = setting(0.15, low=0, below=1)
    test_share: float = setting(0.15, low=0, below=1)
    x: InitVar[Any] = None
    y: InitVar[Any] = None
    lengths: InitVar[Any] = None
    weights: InitVar[Any] = None
    columns: InitVar[Mapping[str, Any] | None] = None

    def __post_init__(self, x: Any, y: Any, lengths: Any, weights: Any, columns: Mapping[str, Any] | None) -> None:
        self._raw: RawSequences | None = None
        self._weights: SequenceWeights | None = None
        for key in _OF_FILES:
            if getattr(self, key) != getattr(File, key):
                raise SettingError(key, getattr(self, key), "is for files; leave it out")
        if y is not None and self.target is None:
            self.target = _target_names(plain_array(y))
        super().__post_init__()
        if x is not None:
            self.attach(x, y, lengths=lengths, weights=weights, columns=columns)

    def attach(
        self,
        x: Any,
        y: Any,
        *,
        lengths: Any = None,
        weights: Any = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Take the arrays: those of the training, if the task is of a checkpoint, which does not have them.

        Args:
            x: Sequences, as of the class.
            y: Their targets.
            lengths: How many steps of each are real.
            weights: How much each counts.
            columns: What `split_by` may name.

        Raises:
            DataError: Shapes do not fit, or a value is neither a number nor text.
        """
        of_sequence = {**(columns or {}), **self._named_targets(plain_array(y))}
        if weights is not None:
            of_sequence[_WEIGHTS] = plain_array(weights)
        self._raw = self._read(x, lengths, of_sequence)
        self._weights = None if weights is None else SequenceWeights.checked(of_sequence[_WEIGHTS], len(self._raw))
        self.__dict__.pop("_kept", None)
        self.__dict__.pop("_kept_contents", None)

    def _named_targets(self, y: np.ndarray) -> dict[str, np.ndarray]:
        values = y[:, None] if y.ndim == 1 else y
        if values.ndim != 2 or values.shape[1] != len(self._targets):
            names = ", ".join(self._targets)
            raise DataError(f"y is {y.dtype} {y.shape}; must have a value of {names} for each sequence")
        return {name: values[:, place] for place, name in enumerate(self._targets)}

    def _read(self, x: Any, lengths: Any, columns: Mapping[str, Any]) -> RawSequences:
        if isinstance(x, list | tuple) and x and all(isinstance(text, str) for text in x):
            raw: RawSequences = from_texts(self.path, x, self.tokens, columns)
        else:
            tables, names = split_sequences(x, lengths)
            raw = from_arrays(self.path, tables, self.features or names, columns)
        layout = replace(self._said_layout, form=raw.layout.form, features=raw.layout.features, is_understood=True)
        return replace(raw, layout=layout)

    def _read_contents(self, layout: Layout, split_rule: SplitRule, fit_rule: FitRule) -> FileContents:
        if self._raw is None:
            raise DataError(
                f"{self.path}: the sequences of the training were in memory, and a checkpoint does not have them; "
                "give them with task.attach(x, y), or a file for the test: +task.test_path=FILE"
            )
        kept: dict[str, FileContents] = self.__dict__.setdefault("_kept_contents", {})
        if not kept:
            kept[self.path] = contents_of(self._raw, split_rule, fit_rule)
        return kept[self.path]

    def given(self, split: Split) -> Sequences:
        """Return the sequences of a split (see `GivenTask.given`)."""
        if split is Split.TEST and self.test_path is not None:
            return super().given(split)
        chosen = np.flatnonzero(self._contents.parts == self._part(split))
        weights = None if self._weights is None else self._weights.of(chosen)
        if weights is not None and split is not Split.TRAIN:
            chosen = chosen[weights.places(0.5)]
        found = self._prepared(self._contents.file, chosen)
        assert isinstance(found, Given)
        return found if split is not Split.TRAIN else replace(found, weights=weights)

    def _part(self, split: Split) -> int:
        """The part that a split is taken from."""
        if split is Split.TEST and self.test_share:
            return TEST
        return VAL if split is not Split.TRAIN and self.val_share else TRAIN

    def notes(self) -> list[str]:
        """Return what is odd about the data (see `GivenTask.notes`)."""
        own = [] if self.val_share else ["validation is on the training sequences (val_share=0)"]
        if not self.test_share and self.test_path is None:
            own.append("the test is on the validation sequences (test_share=0)")
        return [*own, *super().notes()]


def _target_names(y: np.ndarray) -> list[str]:
    """Names of targets: `y`, or `y_0`, `y_1`, ... as of an `.npz` file."""
    return [f"y_{place}" for place in range(y.shape[1])] if y.ndim == 2 else ["y"]
