"""Sequences of the user's own, from a file."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from ffattn.errors import DataError, SettingError
from ffattn.files import (
    FileContents,
    FitRule,
    Layout,
    ParquetPieces,
    Preparation,
    RawSequences,
    Scaling,
    SplitRule,
    open_sequences,
    prepare_inputs,
    prepare_targets,
    read_contents,
    refuse_faults,
)
from ffattn.files.fitting import AUTO, CLASSIFICATION, REGRESSION
from ffattn.files.layouts import TOKENS, WORDS
from ffattn.files.preparation import MISSING, NUMBER, REFUSE
from ffattn.files.splits import COLUMN, GROUP, RANDOM, SPLITS, STRATIFIED, TEST
from ffattn.files.tables import PARQUET
from ffattn.rng.streams import MAX_SEED, Split
from ffattn.settings import setting
from ffattn.tasks.given import Given, GivenTask, Sequences
from ffattn.tasks.out_of_core import Streamed

_PARTS = {Split.TRAIN: "for training", Split.VAL: "for validation", Split.TEST: "for the test"}
_TARGETS = {".npz": ("y",), ".ts": ("target",)}  # unless given
_LONGEST = "longest"  # of the training sequences, in a checkpoint
_MOST_INPUTS = 12  # that are named
_MOST_CLASSES = 8  # likewise


@dataclass
class File(GivenTask):
    """Predict a number, several, or a class for each sequence of a file.

    Attributes:
        path: A `.csv`, `.tsv`, `.parquet`, `.jsonl`, `.npz` or `.ts` file; see `ffattn.files.read_sequences` for its
            forms. One that ships inside a package is `package:path`.
        target: The column to be predicted, or a list of several; for `.npz` y, and for `.ts` target, unless given.
        id: The column that tells which sequence a row belongs to; null where each row is a whole sequence.
        time: The column by which the steps of a sequence are ordered; null for the order of the file.
        features: The list of input columns; null for all that have no other role.
        kind: `regression`, `classification`, or `auto`: classification of text, of true and false, and of at most 20
            different whole numbers.
        missing: Values that are missing: `refuse`, `impute` (the mean of training) or `mask` (likewise, with one more
            input that says so).
        split: What validation and test are: `random` sequences; `stratified`, random, with the same share of each
            class; `group`, whole groups; `time`, the last to begin; or what a `column` says (train, val or test).
        split_by: The column for `group` and `column`; for `stratified` another than the target, and for `time` another
            than `time`.
        split_seed: Of `random`, `stratified` and `group`.
        val_share: The share of sequences, or groups, for validation.
        test_share: For the test; unless there is a file of its own.
        test_path: A file with the test's sequences, or null.
        tokens: What the steps of a text are: `words`, or `characters`.
        max_categories: The most values of a feature of text that have a number of their own.
        window: For a Parquet file that is larger than memory: how many of its row groups are in memory at a time, and
            shuffled with each other; null for the whole file.
        tolerance, embedding: See `GivenTask`.
    """

    path: str = ""
    target: Any = None
    id: str | None = None
    time: str | None = None
    features: Any = None
    kind: str = setting(AUTO, choices=(AUTO, REGRESSION, CLASSIFICATION))
    missing: str = setting(REFUSE, choices=MISSING)
    split: str = setting(RANDOM, choices=SPLITS)
    split_by: str | None = None
    split_seed: int = setting(0, low=0, high=MAX_SEED)
    val_share: float = setting(0.15, above=0, below=1)
    test_share: float = setting(0.15, above=0, below=1)
    test_path: str | None = None
    tokens: str = setting(WORDS, choices=TOKENS)
    max_categories: int = setting(10_000, low=1)
    window: int | None = setting(None, low=1)

    name: ClassVar[str] = "file"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise SettingError("path", self.path, "must be a file, as in task.path=sensors.csv")
        self.target = _names("target", self.target)
        self.features = _names("features", self.features)
        self._check_split()
        if self.window is not None and Path(self.path).suffix != PARQUET:
            raise SettingError("window", self.window, "only Parquet files are read in pieces; leave window out")
        if not self._targets:
            raise SettingError("target", None, "missing; give task.target=COLUMN")
        self._restored: Preparation | None = None

    def _check_split(self) -> None:
        if self.split in {GROUP, COLUMN} and self.split_by is None:
            raise SettingError("split_by", None, f"split={self.split} needs a column")
        if self.split == RANDOM and self.split_by is not None:
            others = "has no meaning for split=random; use split=stratified, group or column"
            raise SettingError("split_by", self.split_by, others)
        if self.split == COLUMN and self.test_path is not None:
            raise SettingError("test_path", self.test_path, "cannot be combined with split=column, which names a test")
        if self.split == STRATIFIED and self.split_by is None and len(self._targets) > 1:
            raise SettingError("split_by", None, "split=stratified needs a column where there are several targets")
        if self.val_share + self.test_share >= 1:
            raise SettingError("test_share", self.test_share, f"leaves nothing beside val_share={self.val_share}")

    @property
    def _targets(self) -> tuple[str, ...]:
        return tuple(self.target or _TARGETS.get(Path(self.path).suffix, ()))

    @property
    def _split_column(self) -> str | None:
        return self._targets[0] if self.split == STRATIFIED and self.split_by is None else self.split_by

    def _layout(self, path: str) -> Layout:
        column = (self.split_by,) if self.split_by is not None and path == self.path else ()
        # in a file of the test's own, the column of the split may be there, and is no feature
        optional = (self.split_by,) if self.split_by is not None and not column else ()
        features = self._restored.columns if self._restored else self.features
        targets = (*self._targets, *column)
        return Layout(self.id, self.time, tuple(features or ()), targets, optional, tokens=self.tokens)

    @property
    def preparation(self) -> Preparation:
        """How the columns become numbers: the checkpoint's, or fitted on the training part of the file."""
        return self._restored or self._contents.preparation

    def state(self) -> dict[str, Any]:
        """Return the preparation in plain values, for a checkpoint."""
        return self.preparation.plain() | {_LONGEST: self.length.T}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the preparation of a checkpoint; the file is then not needed to load a network.

        Args:
            state: What `state` returned.
        """
        if not state:
            return
        try:
            plain = {name: value for name, value in state.items() if name != _LONGEST}
            preparation = Preparation.from_plain(plain)
            longest = state[_LONGEST]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError("the checkpoint says nothing of its columns that this version understands") from error
        self._restored = preparation
        self.length.T = longest

    @property
    def _contents(self) -> FileContents:
        test_share = 0.0 if self.test_path is not None else self.test_share
        split_rule = SplitRule(self.split, self._split_column, self.val_share, test_share, self.split_seed)
        fit_rule = FitRule(self._targets, self.kind, self.missing, self.max_categories)
        contents = read_contents(self.path, self._layout(self.path), split_rule, fit_rule, self.window is None)
        if self._restored is None:
            self.length.T = int(contents.file.lengths.max())
        return contents

    def given(self, split: Split) -> Sequences:
        """Return the sequences of a split (see `GivenTask.given`)."""
        if split is Split.TEST and self.test_path is not None:
            file = open_sequences(self.test_path, self._layout(self.test_path), self.window is None)
            return self._prepared(file, np.arange(len(file.lengths)))
        contents = self._contents
        wanted = TEST if split is Split.TEST else int(split)
        return self._prepared(contents.file, np.flatnonzero(contents.parts == wanted))

    def _prepared(self, file: RawSequences | ParquetPieces, chosen: np.ndarray) -> Sequences:
        if isinstance(file, RawSequences):
            return _in_memory(file.select(chosen), self.preparation)
        pieces = np.repeat(np.arange(len(file.counts)), file.counts)
        places = np.arange(len(pieces)) - np.repeat(np.cumsum(file.counts) - file.counts, file.counts)
        targets = prepare_targets(self.preparation, file.index.select(chosen))
        assert self.window is not None
        read = functools.lru_cache(self.window)(functools.partial(_prepare_piece, file, self.preparation))
        load = self._loaders.setdefault(file.path, read)
        return Streamed(load, self.window, pieces[chosen], places[chosen], targets)

    @property
    def _loaders(self) -> dict[Path, Callable[[int], Given]]:
        """All splits of a file share what is in memory."""
        loaders: dict[Path, Callable[[int], Given]] = self.__dict__.setdefault("_kept_loaders", {})
        return loaders

    @property
    def is_classification(self) -> bool:
        """Whether the target is a class."""
        return bool(self.preparation.classes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as the file has them."""
        return self.preparation.classes

    @property
    def feature_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """What each input is."""
        return self.preparation.input_names

    @property
    def num_outputs(self) -> int:  # type: ignore[override]
        """How many classes, or target columns, there are."""
        return len(self.preparation.classes) or len(self.preparation.targets)

    @property
    def categories(self) -> tuple[int, ...]:  # type: ignore[override]
        """How many different numbers each of the last inputs may have, which are categories."""
        return self.preparation.categories

    @property
    def target_names(self) -> tuple[str, ...]:
        """The columns that are predicted."""
        return tuple(target.name for target in self.preparation.targets)

    def target_scaling(self) -> Scaling:
        """Return the mean and scale of each target (see `GivenTask.target_scaling`)."""
        return Scaling(self.preparation.targets)

    def summary(self) -> str:
        """Return the file and its sizes in a few words."""
        where = f" {self.path}" if self.name == "file" else ""
        return f"{self.name}{where}, up to {self.length.T} steps in training"

    def describe(self) -> dict[str, str]:
        """Return sizes, what is an input, what is predicted, and the constant baseline."""
        sizes = [f"{self.size(part):,} {name}" for part, name in _PARTS.items()]
        window = "" if self.window is None else f"; read in pieces, {self.window} at a time"
        return {
            "sequences": f"{', '.join(sizes)} (split={self.split}){window}",
            "inputs": self._describe_inputs(),
            "predicts": self._describe_classes() if self.preparation.classes else self._describe_targets(),
        }

    def _describe_inputs(self) -> str:
        features = self.preparation.features
        named = [f"{f.name} ({f.kind})" if f.kind != NUMBER else f.name for f in features[:_MOST_INPUTS]]
        return ", ".join(named) + _and_more(len(features) - _MOST_INPUTS)

    def _describe_targets(self) -> str:
        scale = ", ".join(f"{t.name} ({t.mean:.4g} +- {t.scale:.3g})" for t in self.preparation.targets)
        return f"{scale}; the best constant has R2 = 0"

    def _describe_classes(self) -> str:
        preparation = self.preparation
        y = self.on(torch.device("cpu"), Split.TRAIN).y
        counts = torch.bincount(y, minlength=len(preparation.classes)).tolist()
        largest = sorted(zip(counts, preparation.classes, strict=True), reverse=True)[:_MOST_CLASSES]
        shares = ", ".join(f"{name} {count / sum(counts):.1%}" for count, name in largest)
        shares += _and_more(len(counts) - len(largest))
        return f"{preparation.targets[0].name}: {shares}; the best constant is right in {self.baseline().accuracy:.1%}"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _names(key: str, given: Any) -> list[str] | None:
    """A column or a list of columns as a list."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise SettingError(key, given, "must be a column, or a list of columns as in [a,b]")
    return list(names)


def _in_memory(raw: RawSequences, preparation: Preparation) -> Given:
    """Sequences of a file as tensors."""
    targets = prepare_targets(preparation, raw)
    refuse_faults(preparation, raw)
    return Given(prepare_inputs(preparation, raw), torch.from_numpy(raw.offsets), targets)


def _prepare_piece(file: ParquetPieces, preparation: Preparation, piece: int) -> Given:
    """Inputs of the sequences of a piece; their targets are known already."""
    raw = file.read(piece)
    refuse_faults(preparation, raw)
    return Given(prepare_inputs(preparation, raw), torch.from_numpy(raw.offsets), torch.zeros(len(raw)))
