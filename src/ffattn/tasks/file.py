"""Sequences of the user's own, from a file."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ffattn.errors import DataError
from ffattn.files import (
    FileContents,
    FitRule,
    Layout,
    ParquetPieces,
    Preparation,
    RawSequences,
    SplitRule,
    read_contents,
    refuse_faults,
)
from ffattn.files.contents import TestContents, read_test
from ffattn.files.describing import describe_layout, left_out_of, notes_of
from ffattn.files.old_layouts import layout_of_columns
from ffattn.files.preparation import NUMBER
from ffattn.files.splits import PART_WORDS, TEST, TIME
from ffattn.files.windows import NO_PART
from ffattn.rng.streams import Split
from ffattn.system.lazy import torch
from ffattn.system.lazy_modules import LazyModule
from ffattn.tasks.file_settings import FileSettings
from ffattn.tasks.given import Given, Sequences

if TYPE_CHECKING:
    from ffattn.files import preprocessing
else:
    preprocessing = LazyModule("ffattn.files.preprocessing")  # needs torch, which mistakes do not wait for

_LONGEST = "longest"  # of the training sequences, in a checkpoint
_LAYOUT = "layout"  # likewise, what was understood of the columns
_MOST_INPUTS = 12  # that are named
_MOST_CLASSES = 8  # likewise


@dataclass
class File(FileSettings):
    """Predict a number, several, or a class for each sequence of a file.

    Attributes:
        path: A `.csv`, `.tsv`, `.parquet`, `.jsonl`, `.npz` or `.ts` file; see `ffattn.files.read_sequences` for its
            forms. One that ships inside a package is `package:path`.
        target: The column to be predicted, or a list of several; for `.npz` y, for `.ts` target, and
            for `.tsv` the first, unless given.
        id: The column that tells which sequence a row belongs to, or a list of columns that do so together; null where
            each row is a whole sequence.
        time: The column by which the steps of a sequence are ordered; null for the order of the file.
        features: The list of input columns; null for all that have no other role. Where columns are steps, also the
            columns of each feature in their order, as in `{a: [a_0, a_1], b: [b_0, b_1]}`.
        leave_out: A column, or a list of columns, that are not read.
        form: What a row is: `long`, `lists`, `text`, `wide` (see `ffattn.files.read_sequences`), or `auto`.
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
        unlabelled: Sequences without a target: `refuse` them, or `skip` them with a count.
        window_steps: The steps of the windows that each series (of an id, or the whole file) is cut into; null for no
            windows. The target of a window is the value at its last step. Each series is divided in the order of time:
            it ends with its test, before which is its validation, and no step is in two parts. Answers are for windows
            called `id:first-last`, by the numbers of their steps from 1.
        stride: Steps from the beginning of a window to the next; as many as a window has, unless given.
        tokens: What the steps of a text are: `words`, or `characters`.
        max_categories: The most values of a feature of text that have a number of their own.
        window: For a Parquet file that is larger than memory: how many of its row groups are in memory at a time, and
            shuffled with each other; null for the whole file.
        header: Whether the first line of a CSV has the names of columns: true; false, then they are called 0, 1, 2,
            ...; or `auto`: as if true, but refused if it has numbers. A `.tsv` of which nothing else is said has no
            header, and the class first, as in the UCR archive.
        decimal: What stands before the fraction of a number in CSV: `point` or `comma`.
        encoding: Of CSV and JSON Lines, as Python calls it; UTF-16 is recognised.
        tolerance, embedding: See `GivenTask`.
    """

    name: ClassVar[str] = "file"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._restored: Preparation | None = None
        self._kept_layout: dict[str, Any] | None = None  # of a checkpoint

    @property
    def _layout(self) -> Layout:
        """What the settings say of the columns; and what a checkpoint has understood, if there is one."""
        if self._restored is None:
            return self._said_layout
        if self._kept_layout is not None:
            return self._said_layout.with_plain(self._kept_layout)
        features = {feature.name for feature in self._restored.features}
        return layout_of_columns(self._said_layout, features, self._restored.columns)

    @property
    def layout(self) -> Layout:
        """What the columns of the file are, as it was understood in training: other files must have the same."""
        return self._contents.layout if self._restored is None else self._layout

    def layout_of_others(self, has_targets: bool) -> Layout:
        """Return the layout that is demanded of another file than the one of training.

        Args:
            has_targets: Whether the targets are read, rather than left out.
        """
        texts = self.preparation.text_columns
        if has_targets:  # the column of the split may be there, and is no feature
            return replace(self.layout, of_sequence=self._targets, optional=self._split_columns, texts=texts)
        unused = (*self.layout.leave_out, *self._targets, *self._split_columns)
        return replace(self.layout, of_sequence=(), optional=(), leave_out=unused, needed=None, texts=texts)

    @property
    def preparation(self) -> Preparation:
        """How the columns become numbers: the checkpoint's, or fitted on the training part of the file."""
        return self._restored or self._contents.preparation

    def state(self) -> dict[str, Any]:
        """Return the preparation in plain values, for a checkpoint."""
        return self.preparation.plain() | {_LONGEST: self.length.T, _LAYOUT: self.layout.plain()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the preparation of a checkpoint; the file is then not needed to load a network.

        Args:
            state: What `state` returned.
        """
        if not state:
            return
        try:
            plain = {name: value for name, value in state.items() if name not in {_LONGEST, _LAYOUT}}
            preparation = Preparation.from_plain(plain)
            longest = state[_LONGEST]
            layout = state.get(_LAYOUT)  # which format 1 and 2 did not have at first
            if layout is not None:
                self._said_layout.with_plain(layout)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError("the checkpoint says nothing of its columns that this version understands") from error
        self._restored = preparation
        self._kept_layout = layout
        self.length.T = longest

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells whether the file and its split have changed (see `GivenTask.fingerprint`)."""
        return self._contents.fingerprint | ({"test": self.test_fingerprint()} if self.test_path is not None else {})

    def test_fingerprint(self) -> dict[str, Any]:
        """Return what tells whether the test's own file has changed, of which no training sequence is a part."""
        return self._test_contents.fingerprint

    @property
    def _test_contents(self) -> TestContents:
        assert self.test_path is not None
        return read_test(self.test_path, self.layout_of_others(has_targets=True), self.window is None)

    @property
    def _contents(self) -> FileContents:
        test_share = 0.0 if self.test_path is not None else self.test_share
        split_rule = SplitRule(self.split, self._split_column, self.val_share, test_share, self.split_seed)
        fit_rule = FitRule(self._targets, self._kind, self.missing, self.max_categories)
        contents = self._read_contents(self._layout, split_rule, fit_rule)
        if self._restored is None:
            self.length.T = int(contents.file.lengths.max())
        return contents

    def _read_contents(self, layout: Layout, split_rule: SplitRule, fit_rule: FitRule) -> FileContents:
        """Where the sequences come from."""
        return read_contents(self.path, layout, split_rule, fit_rule, self.window is None)

    def given(self, split: Split) -> Sequences:
        """Return the sequences of a split (see `GivenTask.given`)."""
        if split is Split.TEST and self.test_path is not None:
            file = self._test_contents.file
            self._note(self.test_path, file)
            if self._restored is None and self.test_fingerprint()["inputs"] == self._contents.fingerprint["inputs"]:
                self._notes_by_file[self.test_path].append(f"{self.test_path}: has the inputs of the file of training")
            return self._prepared(file, np.arange(len(file.lengths)))
        contents = self._contents
        self._note(self.path, contents.file)
        if between := int((contents.parts == NO_PART).sum()):
            self._notes_by_file[self.path].append(f"{between} windows have steps of two parts, and are left out")
        wanted = TEST if split is Split.TEST else int(split)
        return self._prepared(contents.file, np.flatnonzero(contents.parts == wanted))

    def notes(self) -> list[str]:
        """Return what is odd about the files that have been read (see `GivenTask.notes`)."""
        return list(chain.from_iterable(self._notes_by_file.values()))

    @property
    def _notes_by_file(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.__dict__.setdefault("_kept_notes", {})
        return found

    def _note(self, path: str, file: RawSequences | ParquetPieces) -> None:
        new = [column for column in file.layout.left_out if column not in self.layout.left_out]
        notes = [*notes_of(file if isinstance(file, RawSequences) else file.index), *left_out_of(new)]
        self._notes_by_file[path] = notes if path == self.path else [f"{path}: {note}" for note in notes]

    def _prepared(self, file: RawSequences | ParquetPieces, chosen: np.ndarray) -> Sequences:
        if isinstance(file, RawSequences):
            return _in_memory(file.select(chosen), self.preparation)
        from ffattn.tasks.out_of_core import Streamed

        pieces = np.repeat(np.arange(len(file.counts)), file.counts)
        places = np.arange(len(pieces)) - np.repeat(np.cumsum(file.counts) - file.counts, file.counts)
        targets = preprocessing.prepare_targets(self.preparation, file.index.select(chosen))
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

    def target_scaling(self) -> "preprocessing.Scaling":
        """Return the mean and scale of each target (see `GivenTask.target_scaling`)."""
        return preprocessing.Scaling(self.preparation.targets)

    def summary(self) -> str:
        """Return the file and its sizes in a few words."""
        where = f" {self.path}" if self.name == "file" else ""
        return f"{self.name}{where}, up to {self.length.T} steps in training"

    def describe(self) -> dict[str, str]:
        """Return sizes, what is an input, what is predicted, and the constant baseline."""
        sizes = [f"{self.size(Split(part)):,} {words}" for part, words in PART_WORDS.items()]
        window = "" if self.window is None else f"; read in pieces, {self.window} at a time"
        how = TIME if self.window_steps is not None else self.split
        return {
            "layout": describe_layout(self._contents.file, self.layout, self._targets),
            **({"note": "; ".join(self.notes())} if self.notes() else {}),
            "sequences": f"{', '.join(sizes)} (split={how}){window}",
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
        y = self.on("cpu", Split.TRAIN).y
        counts = torch.bincount(y, minlength=len(preparation.classes)).tolist()
        largest = sorted(zip(counts, preparation.classes, strict=True), reverse=True)[:_MOST_CLASSES]
        shares = ", ".join(f"{name} {count / sum(counts):.1%}" for count, name in largest)
        shares += _and_more(len(counts) - len(largest))
        return f"{preparation.targets[0].name}: {shares}; the best constant is right in {self.baseline().accuracy:.1%}"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""


def _in_memory(raw: RawSequences, preparation: Preparation) -> Given:
    """Sequences of a file as tensors."""
    targets = preprocessing.prepare_targets(preparation, raw)
    refuse_faults(preparation, raw)
    return Given(preprocessing.prepare_inputs(preparation, raw), torch.from_numpy(raw.offsets), targets)


def _prepare_piece(file: ParquetPieces, preparation: Preparation, piece: int) -> Given:
    """Inputs of the sequences of a piece; their targets are known already."""
    raw = file.read(piece)
    refuse_faults(preparation, raw)
    return Given(preprocessing.prepare_inputs(preparation, raw), torch.from_numpy(raw.offsets), torch.zeros(len(raw)))
