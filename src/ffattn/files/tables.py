"""A file as a table, by well-kept readers."""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError

MISSING_TEXT = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
ARRAYS, TIME_SERIES, PARQUET = ".npz", ".ts", ".parquet"


def locate(name: str) -> Path:
    """Where a file is.

    Args:
        name: A path; or `package:path` for a file that ships inside an installed package, below it.

    Raises:
        DataError: The package is not installed.
    """
    package, colon, below = name.partition(":")
    if not colon or not package.isidentifier():
        return Path(name)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{name}: needs the package {package}: pip install 'ffattn[real]'")
    return Path(spec.submodule_search_locations[0]) / below


def read_table(path: Path) -> Any:
    """The file as a pyarrow table.

    Args:
        path: A file of a format that its name tells.

    Returns:
        The table. A `.ts` file or an `.npz` archive has a column of lists for each feature, one row for each sequence.

    Raises:
        DataError: There is no such file, its format is unknown, it is damaged, or what reads it is not installed.
    """
    _require_file(path)
    suffix = path.with_suffix("").suffix if path.suffix in {".gz", ".bz2"} else path.suffix
    if (reader := _READERS.get(suffix.lower())) is None:
        raise DataError(f"{path}: the format is told by the name, which must end in one of {', '.join(_READERS)}")
    try:
        table = reader(path)
        names = table.column_names
    except DataError:
        raise
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not table.num_rows:
        raise DataError(f"{path}: has no rows")
    _refuse_twins(path, names)
    return table


def open_parquet(path: Path) -> Any:
    """A Parquet file, of which only what is asked for is read.

    Args:
        path: The file.

    Returns:
        pyarrow's ParquetFile.

    Raises:
        DataError: There is no such file, it is damaged or empty, or pyarrow is not installed.
    """
    _require_file(path)
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not file.metadata.num_rows:
        raise DataError(f"{path}: has no rows")
    _refuse_twins(path, file.schema_arrow.names)
    return file


def _require_file(path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading files needs pyarrow: pip install 'ffattn[data]'")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")


def _refuse_twins(path: Path, names: list[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: has two columns {twice[0]}")


def parse_csv(source: Any, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of numbers from lines of CSV that come in pieces.

    Args:
        source: What pyarrow reads from.
        columns: Which columns are wanted.

    Raises:
        DataError: A column is missing, a value is text, or a line has another number of values.
    """
    import pyarrow as pa
    from pyarrow import csv

    kinds = dict.fromkeys(columns, pa.float64())
    convert = csv.ConvertOptions(column_types=kinds, include_columns=list(columns), null_values=MISSING_TEXT)
    try:
        table = csv.read_csv(source, csv.ReadOptions(use_threads=False), convert_options=convert)
    except (pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"standard input: {' '.join(str(error).split())}") from error
    return {name: table[name].to_numpy() for name in columns}


def _csv(path: Path, delimiter: str = ",") -> Any:
    from pyarrow import csv

    convert = csv.ConvertOptions(null_values=MISSING_TEXT, strings_can_be_null=True)
    return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=delimiter), convert_options=convert)


def _tsv(path: Path) -> Any:
    return _csv(path, "\t")


def _parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _json_lines(path: Path) -> Any:
    from pyarrow import json

    return json.read_json(path)


def _arrays(path: Path) -> Any:
    """Arrays `x` (sequence, time) or (sequence, time, feature), `lengths` if any, and one number for each sequence."""
    import pyarrow as pa

    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # a damaged one it would leave open
        arrays = {name: archive[name] for name in archive.files}
    if "x" not in arrays or arrays["x"].ndim not in {2, 3}:
        raise DataError(f"{path}: must hold an array x, (sequence, time) or (sequence, time, feature)")
    x = arrays.pop("x")
    x = x[..., None] if x.ndim == 2 else x
    lengths = arrays.pop("lengths", np.full(len(x), x.shape[1]))
    if lengths.shape != (len(x),) or not ((lengths >= 0) & (lengths <= x.shape[1])).all():
        raise DataError(f"{path}: lengths must be whole numbers on 0..{x.shape[1]}, one for each of {len(x)} sequences")
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    is_real = np.arange(x.shape[1]) < lengths[:, None]
    columns = {
        f"feature_{i}": pa.ListArray.from_arrays(offsets, pa.array(x[..., i][is_real])) for i in range(x.shape[2])
    }
    for name, array in arrays.items():
        if len(array) != len(x) or array.ndim > 2:
            raise DataError(f"{path}: array {name} has shape {array.shape}; must be ({len(x)},) or ({len(x)}, output)")
        parts = {name: array} if array.ndim == 1 else {f"{name}_{i}": array[:, i] for i in range(array.shape[1])}
        columns |= {part: pa.array(values) for part, values in parts.items()}
    return pa.table(columns)


def _time_series(path: Path) -> Any:
    """The time-series archive's format: a column of lists for each dimension, and the column `target`."""
    import pyarrow as pa

    if importlib.util.find_spec("sktime") is None:
        raise DataError(f"{path}: .ts files need sktime: pip install 'ffattn[real]'")
    from sktime.datasets import load_from_tsfile

    try:
        x, y = load_from_tsfile(str(path), return_data_type="nested_univ")
    except Exception as error:  # a damaged file can make it raise anything
        raise DataError(f"{path}: not a time-series file: {' '.join(str(error).split())}") from error
    columns = {name: pa.array([np.asarray(cell, np.float64) for cell in x[name]]) for name in x.columns}
    is_number = "@targetlabel true" in path.read_text(errors="replace").partition("@data")[0].lower()
    target = np.asarray(y, np.float64) if is_number else np.asarray(y)
    return pa.table(columns | {"target": pa.array(target.tolist())})


_READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    PARQUET: _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ARRAYS: _arrays,
    TIME_SERIES: _time_series,
}
