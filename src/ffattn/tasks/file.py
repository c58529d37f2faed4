"""Sequences of the user's own, from a file."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from ffattn.errors import DataError, SettingError
from ffattn.files import Layout, Pieces, Preparation, Raw, fit, in_pieces, locate, read
from ffattn.files.layouts import TOKENS, WORDS
from ffattn.files.preparation import CLASSIFICATION, MISSING, REFUSE, REGRESSION
from ffattn.files.splits import COLUMN, GROUP, RANDOM, SPLITS, STRATIFIED, TEST, split
from ffattn.files.tables import PARQUET
from ffattn.rng.streams import MAX_SEED, Split
from ffattn.settings import setting
from ffattn.tasks.given import Given, GivenTask, Sequences
from ffattn.tasks.out_of_core import Streamed


class _Contents(NamedTuple):
    """A file, read: its sequences, the part of each, and the preparation fitted on the training ones."""

    file: Raw | Pieces
    parts: np.ndarray
    preparation: Preparation


@dataclass
class File(GivenTask):
    """Predict a number, several, or a class for each sequence of a file.

    Attributes:
        path: A `.csv`, `.tsv`, `.parquet`, `.jsonl`, `.npz` or `.ts` file; see `ffattn.files.read` for its forms. One
            that ships inside a package is `package:path`.
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
    kind: str = setting("auto", choices=("auto", REGRESSION, CLASSIFICATION))
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
        self.target, self.features = _names("target", self.target), _names("features", self.features)
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
        if self.window is not None and Path(self.path).suffix != PARQUET:
            raise SettingError("window", self.window, "only Parquet files are read in pieces; leave window out")
        if not self._targets:
            raise SettingError("target", None, "missing; give task.target=COLUMN")
        self._restored: Preparation | None = None

    @property
    def _targets(self) -> tuple[str, ...]:
        usual = {".npz": ["y"], ".ts": ["target"]}
        return tuple(self.target or usual.get(Path(self.path).suffix, []))

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
        """The preparation in plain values, for a checkpoint."""
        return self.preparation.plain() | {"longest": self.length.T}

    def restore(self, state: dict[str, Any]) -> None:
        """Take the preparation of a checkpoint; the file is then not needed to load a network.

        Args:
            state: What `state` returned.
        """
        if not state:
            return
        try:
            plain = {name: value for name, value in state.items() if name != "longest"}
            self._restored, self.length.T = Preparation.from_plain(plain), state["longest"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError("the checkpoint says nothing of its columns that this version understands") from error

    @property
    def _contents(self) -> _Contents:
        shares = self.val_share, 0.0 if self.test_path is not None else self.test_share
        contents = _read_and_fit(
            *_identity(self.path),
            self._layout(self.path),
            (self.split, self._split_column, shares, self.split_seed),
            (self._targets, self.kind, self.missing, self.max_categories),
            is_whole=self.window is None,
        )
        if self._restored is None:
            self.length.T = int(contents.file.lengths.max())
        return contents

    def given(self, split: Split) -> Sequences:
        """The sequences of a split (see `GivenTask.given`)."""
        if split is Split.TEST and self.test_path is not None:
            file = _open(self.test_path, self._layout(self.test_path), self.window is None)
            return self._prepared(file, np.arange(len(file.lengths)))
        contents = self._contents
        wanted = TEST if split is Split.TEST else int(split)
        return self._prepared(contents.file, np.flatnonzero(contents.parts == wanted))

    def _prepared(self, file: Raw | Pieces, chosen: np.ndarray) -> Sequences:
        if isinstance(file, Raw):
            return prepared(file, self.preparation, chosen)
        pieces = np.repeat(np.arange(len(file.counts)), file.counts)
        places = np.arange(len(pieces)) - np.repeat(np.cumsum(file.counts) - file.counts, file.counts)
        answers = torch.from_numpy(self.preparation.answers(select(file.index, chosen)))
        assert self.window is not None
        load = self._loaders.setdefault(file.path, functools.lru_cache(self.window)(self._load(file)))
        return Streamed(load, self.window, pieces[chosen], places[chosen], answers)

    @property
    def _loaders(self) -> dict[Path, Callable[[int], Given]]:
        """All splits of a file share what is in memory."""
        loaders: dict[Path, Callable[[int], Given]] = self.__dict__.setdefault("_kept_loaders", {})
        return loaders

    def _load(self, file: Pieces) -> Callable[[int], Given]:
        def load(piece: int) -> Given:
            raw = file.read(piece)
            self.preparation.check(raw)
            x, offsets = torch.from_numpy(self.preparation.inputs(raw)), torch.from_numpy(raw.offsets)
            return Given(x, offsets, torch.zeros(len(raw)))

        return load

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

    def scales(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and scale of each target, (output,), by which predictions become numbers as in the file."""
        targets = self.preparation.targets
        return torch.tensor([target.mean for target in targets]), torch.tensor([target.scale for target in targets])

    def summary(self) -> str:
        """The file and its sizes in a few words."""
        where = f" {self.path}" if self.name == "file" else ""
        return f"{self.name}{where}, up to {self.length.T} steps in training"

    def describe(self) -> dict[str, str]:
        """Sizes, what is an input, what is predicted, and the constant baseline."""
        preparation = self.preparation
        baseline = self.baseline()
        sizes = [f"{self.size(part):,} {name}" for part, name in _PARTS.items()]
        inputs = ", ".join(f"{f.name} ({f.kind})" if f.kind != "number" else f.name for f in preparation.features[:12])
        more = len(preparation.features) - 12
        window = "" if self.window is None else f"; read in pieces, {self.window} at a time"
        lines = {
            "sequences": f"{', '.join(sizes)} (split={self.split}){window}",
            "inputs": inputs + (f" and {more} more" if more > 0 else ""),
        }
        if not preparation.classes:
            scale = ", ".join(f"{t.name} ({t.mean:.4g} +- {t.scale:.3g})" for t in preparation.targets)
            return lines | {"predicts": f"{scale}; the best constant has R2 = 0"}
        y = self.on(torch.device("cpu"), Split.TRAIN).y
        counts = torch.bincount(y, minlength=len(preparation.classes)).tolist()
        largest = sorted(zip(counts, preparation.classes, strict=True), reverse=True)[:8]
        shares = ", ".join(f"{name} {count / sum(counts):.1%}" for count, name in largest)
        more = len(counts) - len(largest)
        shares += f" and {more} more" if more > 0 else ""
        target = preparation.targets[0].name
        return lines | {"predicts": f"{target}: {shares}; the best constant is right in {baseline.accuracy:.1%}"}


_PARTS = {Split.TRAIN: "for training", Split.VAL: "for validation", Split.TEST: "for the test"}


def _names(key: str, given: Any) -> list[str] | None:
    """A column or a list of columns as a list."""
    if given is None:
        return None
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise SettingError(key, given, "must be a column, or a list of columns as in [a,b]")
    return list(names)


def prepared(raw: Raw, preparation: Preparation, chosen: np.ndarray) -> Given:
    """Some sequences of a file as tensors.

    Args:
        raw: The file's sequences.
        preparation: How columns become numbers.
        chosen: Numbers of the sequences.

    Raises:
        DataError: A value cannot be used.
    """
    part = select(raw, chosen)
    answers = torch.from_numpy(preparation.answers(part))
    preparation.check(part)
    return Given(torch.from_numpy(preparation.inputs(part)), torch.from_numpy(part.offsets), answers)


def select(raw: Raw, chosen: np.ndarray) -> Raw:
    """Some sequences of a file.

    Args:
        raw: All.
        chosen: Numbers of those that are wanted.
    """
    lengths = raw.lengths[chosen]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    steps = np.repeat(raw.offsets[:-1][chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return replace(
        raw,
        ids=raw.ids[chosen],
        offsets=offsets,
        features={name: column[steps] for name, column in raw.features.items()},
        columns={name: column[chosen] for name, column in raw.columns.items()},
        rows=raw.rows[steps],
        starts=None if raw.starts is None else raw.starts[chosen],
    )


def _identity(path: str) -> tuple[str, tuple[float, int]]:
    """A file and what changes when it does."""
    found = locate(path)
    return path, (found.stat().st_mtime, found.stat().st_size) if found.is_file() else (0.0, 0)


@functools.lru_cache(maxsize=4)  # the jobs of a sweep read the same file
def _read_and_fit(
    path: str,
    identity: tuple[float, int],
    layout: Layout,
    how: tuple[str, str | None, tuple[float, float], int],
    what: tuple[tuple[str, ...], str, str, int],
    *,
    is_whole: bool,
) -> _Contents:
    file = _open(path, layout, is_whole)
    index, pieces = (file, None) if isinstance(file, Raw) else (file.index, file)
    parts = split(index, *how)
    preparation = fit(index, parts == 0, *what[:-1], most_categories=what[-1], pieces=pieces)
    for piece in pieces or ():  # what cannot be used is found now, and not in the middle of the training
        preparation.check(piece)
    return _Contents(file, parts, preparation)


def _open(path: str, layout: Layout, is_whole: bool) -> Raw | Pieces:
    return read(locate(path), layout) if is_whole else in_pieces(locate(path), layout)
