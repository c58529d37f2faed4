"""A file, read once for all that ask for it: its sequences, the part of each, and what is known of its columns."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ffattn.errors import DataError
from ffattn.files.faults import refuse_faults_of_parts
from ffattn.files.fingerprint import Fingerprint
from ffattn.files.fitting import FitRule, fit_preparation
from ffattn.files.layouts import Layout
from ffattn.files.preparation import Preparation
from ffattn.files.reading import read_sequences
from ffattn.files.row_groups import ParquetPieces, open_pieces
from ffattn.files.sequences import RawSequences
from ffattn.files.splits import PART_WORDS, TEST, TRAIN, SplitRule, assign_parts
from ffattn.files.tables import locate
from ffattn.files.windows import assign_windows
from ffattn.system.lazy import Int

_PARTS = (*PART_WORDS.values(), "between them")  # in the order of their numbers


class FileContents(NamedTuple):
    """A file, read.

    Attributes:
        file: Its sequences, or where they are.
        parts: The part of each (see `assign_parts`).
        preparation: Fitted on the training sequences.
        fingerprint: What tells whether the file and its parts have changed, in plain values (see `Fingerprint`).
    """

    file: RawSequences | ParquetPieces
    parts: Int[np.ndarray, " sequence"]
    preparation: Preparation
    fingerprint: dict[str, Any]

    @property
    def sequences(self) -> RawSequences:
        """What is known of the sequences, perhaps without their features."""
        return self.file if isinstance(self.file, RawSequences) else self.file.index

    @property
    def layout(self) -> Layout:
        """What the columns of the file are, as it was understood."""
        return self.file.layout


class TestContents(NamedTuple):
    """A file of the test's own, read.

    Attributes:
        file: Its sequences, or where they are.
        fingerprint: As of `FileContents`, and its path.
    """

    file: RawSequences | ParquetPieces
    fingerprint: dict[str, Any]


class _FileVersion(NamedTuple):
    """What changes when a file does."""

    modified: float
    size: int


def read_contents(
    path: str, layout: Layout, split_rule: SplitRule, fit_rule: FitRule, is_whole: bool = True
) -> FileContents:
    """Return a file's sequences, divided and fitted; a file that has not changed is not read again.

    Args:
        path: The file, or `package:path`.
        layout: What its columns are.
        split_rule: How its sequences are divided.
        fit_rule: What is fitted.
        is_whole: Whether all of it goes into memory; otherwise it is a Parquet file, which is read in pieces.

    Raises:
        DataError: It cannot be read, divided or fitted, or a value of it cannot be used.
    """
    return _read_and_fit(path, _version_of(path), layout, split_rule, fit_rule, is_whole=is_whole)


def _version_of(path: str) -> _FileVersion:
    found = locate(path)
    return _FileVersion(found.stat().st_mtime, found.stat().st_size) if found.is_file() else _FileVersion(0.0, 0)


@functools.lru_cache(maxsize=4)  # the jobs of a sweep read the same file
def _read_and_fit(
    path: str, version: _FileVersion, layout: Layout, split_rule: SplitRule, fit_rule: FitRule, *, is_whole: bool
) -> FileContents:
    return contents_of(open_sequences(path, layout, is_whole), split_rule, fit_rule)


def contents_of(file: RawSequences | ParquetPieces, split_rule: SplitRule, fit_rule: FitRule) -> FileContents:
    """Return sequences, divided and fitted.

    Args:
        file: The sequences, or where they are.
        split_rule: How they are divided.
        fit_rule: What is fitted.

    Raises:
        DataError: They cannot be divided or fitted, or a value of them cannot be used.
    """
    index, pieces = (file, None) if isinstance(file, RawSequences) else (file.index, file)
    parts = assign_parts(index, split_rule) if index.spans is None else assign_windows(index, split_rule)
    preparation = fit_preparation(index, parts == TRAIN, fit_rule, pieces)
    fingerprint = Fingerprint()
    every = fingerprint.taken_of([index] if pieces is None else pieces)  # pieces are read once for both
    # what cannot be used is found now, and not in the middle of the training
    refuse_faults_of_parts(preparation, every, parts, _PARTS)
    return FileContents(file, parts, preparation, fingerprint.plain(parts))


def read_test(path: str, layout: Layout, is_whole: bool = True) -> TestContents:
    """Return the sequences of a file that is all for the test; one that has not changed is not read again.

    Args:
        path: The file.
        layout: What its columns must be.
        is_whole: As of `read_contents`.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    return _read_test(path, _version_of(path), layout, is_whole=is_whole)


@functools.lru_cache(maxsize=4)
def _read_test(path: str, version: _FileVersion, layout: Layout, *, is_whole: bool) -> TestContents:
    file = open_sequences(path, layout, is_whole)
    fingerprint = Fingerprint()
    for piece in [file] if isinstance(file, RawSequences) else file:
        fingerprint.update(piece)
    return TestContents(file, fingerprint.plain(np.full(len(file.lengths), TEST)) | {"path": path})


def open_sequences(path: str | Path, layout: Layout, is_whole: bool = True) -> RawSequences | ParquetPieces:
    """Return the sequences of a file, or where they are.

    Args:
        path: The file, or `package:path`.
        layout: What its columns are.
        is_whole: As of `read_contents`.

    Raises:
        DataError: It cannot be read, or lacks a column.
    """
    found = locate(str(path))
    if not is_whole:
        return open_pieces(found, layout)
    raw = read_sequences(found, layout)
    return raw if layout.needed is None else _with_values(raw, layout.needed)


def _with_values(raw: RawSequences, names: tuple[str, ...]) -> RawSequences:
    """The sequences with a value in all of some columns."""
    is_there = np.all([raw.columns[name].is_valid().to_numpy(zero_copy_only=False) for name in names], axis=0)
    if not is_there.any():
        raise DataError(f"{raw.path}: no sequence has a value of {' and '.join(names)}")
    if is_there.all():
        return raw
    return replace(raw.select(np.flatnonzero(is_there)), unlabelled=int((~is_there).sum()))
