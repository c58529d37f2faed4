"""NumPy's archives of arrays, `.npz`."""

from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import with_unread
from ffattn.system.lazy import Int

_INPUTS = "x"
_LENGTHS = "lengths"
_OBJECTS = "holds Python objects, which are never loaded; save it as numbers or text"
_PLAIN_KINDS = "biufUSMm"  # of NumPy's types, that pyarrow has too


def read_npz(path: Path) -> Any:
    """Return a pyarrow table of an archive, with a column of lists for each feature, and one row for each sequence.

    Args:
        path: An archive of arrays `x`, (sequence, time) or (sequence, time, feature), `lengths` if sequences differ,
            and others with one number, or several, for each sequence. What else there is is left out, with a reason
            (see `ffattn.files.layouts.unread_of`).

    Raises:
        DataError: An array is missing, or has another shape or type.
    """
    import pyarrow as pa

    arrays, unread = _load_all(path)
    if _INPUTS not in arrays or arrays[_INPUTS].ndim not in {2, 3}:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"{path}: must hold an array x, (sequence, time) or (sequence, time, feature); it has {shapes}")
    x = arrays.pop(_INPUTS)
    x = x[..., None] if x.ndim == 2 else x
    lengths = _lengths(path, x, arrays.pop(_LENGTHS, None))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    is_real = np.arange(x.shape[1]) < lengths[:, None]
    columns = {
        f"feature_{i}": pa.ListArray.from_arrays(offsets, pa.array(x[..., i][is_real])) for i in range(x.shape[2])
    }
    for name, array in arrays.items():
        if array.ndim not in {1, 2} or len(array) != len(x):
            unread[name] = f"has shape {array.shape}, not ({len(x)},) or ({len(x)}, output)"
        elif twice := columns.keys() & (parts := _columns_of(name, array)).keys():
            raise DataError(f"{path}: array {name} is called like the feature {min(twice)} of x; give it another name")
        else:
            columns |= {part: pa.array(values) for part, values in parts.items()}
    return with_unread(pa.table(columns), unread)


def _load_all(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file, and why others are none."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # a damaged one it would leave open
        loaded = {name: _load(archive, name) for name in archive.files}
    unread = {name: reason for name, reason in loaded.items() if isinstance(reason, str)}
    if needed := [name for name in (_INPUTS, _LENGTHS) if name in unread]:
        advice = (
            f"; pad sequences of different lengths, and add an array {_LENGTHS}"
            if unread[needed[0]] == _OBJECTS
            else ""
        )
        raise DataError(f"{path}: array {needed[0]} {unread[needed[0]]}{advice}")
    return {name: array for name, array in loaded.items() if not isinstance(array, str)}, unread


def _load(archive: Any, name: str) -> np.ndarray | str:
    """An array in this machine's byte order, of a type that pyarrow has; or why there is none."""
    try:
        array: np.ndarray = archive[name]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        return _OBJECTS
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        return np.asarray(array, np.float64)
    if array.dtype.kind not in _PLAIN_KINDS:
        return f"holds {array.dtype}, which is neither numbers, text nor times"
    return array


def _lengths(path: Path, x: np.ndarray, given: np.ndarray | None) -> Int[np.ndarray, " sequence"]:
    count, time = x.shape[:2]
    if given is None:
        if x.dtype.kind == "f" and x.size and (padded := np.flatnonzero(np.isnan(x[:, -1]).all(axis=1))).size:
            raise DataError(
                f"{path}, row {padded[0] + 1}: x ends in steps without a value; add an array lengths, which says how "
                "many steps of each sequence are real"
            )
        return np.full(count, time)
    if given.shape != (count,) or not _are_counts(given, time):
        raise DataError(f"{path}: lengths must be whole numbers on 0..{time}, one for each of {count} sequences")
    return given.astype(np.int64)


def _are_counts(numbers: np.ndarray, most: int) -> bool:
    is_numeric = numbers.dtype.kind in "iuf"
    return is_numeric and bool(((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))).all())


def _columns_of(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """An array with one number for each sequence as a column, one with several as several."""
    return {name: array} if array.ndim == 1 else {f"{name}_{i}": array[:, i] for i in range(array.shape[1])}
