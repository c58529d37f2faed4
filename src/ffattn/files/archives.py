"""Formats that hold whole arrays: NumPy's `.npz`, and `.ts` of the time-series archive."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError

_PLAIN_KINDS = "biufUSMm"  # of NumPy's types, that pyarrow has too


def read_npz(path: Path) -> Any:
    """Return a pyarrow table of an archive, with a column of lists for each feature, and one row for each sequence.

    Args:
        path: An archive of arrays `x`, (sequence, time) or (sequence, time, feature), `lengths` if sequences differ,
            and others with one number, or several, for each sequence. A single number (a sampling rate) is left out.

    Raises:
        DataError: An array is missing, or has another shape or type.
    """
    import pyarrow as pa

    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # a damaged one it would leave open
        arrays = {name: _plain_array(path, name, archive[name]) for name in archive.files}
    if "x" not in arrays or arrays["x"].ndim not in {2, 3}:
        raise DataError(f"{path}: must hold an array x, (sequence, time) or (sequence, time, feature)")
    x = arrays.pop("x")
    x = x[..., None] if x.ndim == 2 else x
    lengths = arrays.pop("lengths", np.full(len(x), x.shape[1]))
    if lengths.shape != (len(x),) or not _are_counts(lengths, x.shape[1]):
        raise DataError(f"{path}: lengths must be whole numbers on 0..{x.shape[1]}, one for each of {len(x)} sequences")
    offsets = np.concatenate(([0], np.cumsum(lengths.astype(np.int64)))).astype(np.int32)
    is_real = np.arange(x.shape[1]) < lengths[:, None]
    columns = {
        f"feature_{i}": pa.ListArray.from_arrays(offsets, pa.array(x[..., i][is_real])) for i in range(x.shape[2])
    }
    for name, array in arrays.items():
        if array.ndim:
            columns |= {part: pa.array(values) for part, values in _columns_of(path, name, array, len(x)).items()}
    return pa.table(columns)


def _plain_array(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """An array in this machine's byte order, of a type that pyarrow has."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        return array.astype(np.float64)
    if array.dtype.kind not in _PLAIN_KINDS:
        raise DataError(f"{path}: array {name} holds {array.dtype}, which is neither numbers, text nor times")
    return array


def _are_counts(numbers: np.ndarray, most: int) -> bool:
    is_numeric = numbers.dtype.kind in "iuf"
    return is_numeric and bool(((numbers >= 0) & (numbers <= most) & (numbers == np.floor(numbers))).all())


def _columns_of(path: Path, name: str, array: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """An array with one number for each sequence as a column, one with several as several."""
    if len(array) != count or array.ndim > 2:
        raise DataError(f"{path}: array {name} has shape {array.shape}; must be ({count},) or ({count}, output)")
    if array.ndim == 1:
        return {name: array}
    return {f"{name}_{i}": array[:, i] for i in range(array.shape[1])}


def read_ts(path: Path) -> Any:
    """Return a pyarrow table of a `.ts` file: a column of lists for each dimension, and the column `target`, if any.

    Args:
        path: A file in the format of timeseriesclassification.com. The text ? is a missing value.

    Raises:
        DataError: It is in another format, or sktime is not installed.
    """
    import pyarrow as pa

    if importlib.util.find_spec("sktime") is None:
        raise DataError(f"{path}: .ts files need sktime: pip install 'ffattn[real]'")
    from sktime.datasets import load_from_tsfile_to_dataframe

    settings = re.split(r"(?im)^\s*@data", path.read_text(errors="replace"), maxsplit=1)[0].lower()
    if re.search(r"(?m)^\s*@timestamps\s+true", settings):
        raise DataError(f"{path}: has time stamps, which are not read; write it as CSV with task.id= and task.time=")
    try:
        read = load_from_tsfile_to_dataframe(str(path))
        x, y = read if isinstance(read, tuple) else (read, None)
        columns = {name: pa.array([np.asarray(cell, np.float64) for cell in x[name]]) for name in x.columns}
        if y is None:
            return pa.table(columns)
        is_number = re.search(r"(?m)^\s*@targetlabel\s+true", settings)
        target = np.asarray(y, np.float64) if is_number else np.asarray(y, str)
    except Exception as error:  # a damaged file can make it raise anything
        raise DataError(f"{path}: not a time-series file: {' '.join(str(error).split())}") from error
    return pa.table(columns | {"target": pa.array(target.tolist())})
