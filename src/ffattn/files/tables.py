"""A file as a table, by well-kept readers."""

import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.archives import read_npz
from ffattn.files.headers import refuse_twins
from ffattn.files.loaders import LOADERS
from ffattn.files.text_files import PLAIN, Blocks, TextRule, csv_blocks, json_blocks, read_whole
from ffattn.files.time_series import read_ts
from ffattn.files.values import NO_NUMBER

ARRAYS = ".npz"
TIME_SERIES = ".ts"
PARQUET = ".parquet"
_TEXTS: dict[str, Blocks] = {".csv": csv_blocks, ".tsv": csv_blocks, ".jsonl": json_blocks, ".ndjson": json_blocks}
_FORMATS = (".csv", ".tsv", PARQUET, ".jsonl", ".ndjson", ARRAYS, TIME_SERIES)
_BLOCK = 1 << 23  # bytes of a file that are read at a time


def locate(name: str) -> Path:
    """Find a file.

    Args:
        name: A path; or `package:path` for a file that ships inside an installed package, below it, or for one of
            `LOADERS`, which is returned as it is.

    Raises:
        DataError: The package is not installed.
    """
    package, colon, below = name.partition(":")
    if not colon or not package.isidentifier():
        return Path(name)
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"{name}: needs the package {package}: pip install 'ffattn[real]'")
    if name in LOADERS:
        return Path(name)
    return Path(spec.submodule_search_locations[0]) / below


def read_table(path: Path, rule: TextRule = PLAIN) -> Any:
    """Return the file as a pyarrow table.

    Args:
        path: A file of a format that its name tells; or one of `LOADERS`.
        rule: How the cells of CSV and JSON Lines are read.

    Returns:
        The table. A `.ts` file or an `.npz` archive has a column of lists for each feature, one row for each sequence.

    Raises:
        DataError: There is no such file, its format is unknown, it is damaged, or what reads it is not installed.
    """
    if str(path) in LOADERS:
        return LOADERS[str(path)]()
    _require_file(path)
    suffix = _suffix(path)
    with _wrap_errors(path):
        table = read_whole(_TEXTS[suffix], path, rule) if suffix in _TEXTS else _READERS[suffix](path)
        names = table.column_names
    if not table.num_rows:
        raise DataError(f"{path}: has no rows")
    refuse_twins(path, names)
    return table


def read_tables(path: Path, columns: tuple[str, ...] = (), rule: TextRule = PLAIN) -> Iterator[Any]:
    """Return the file as pyarrow tables, each with the next rows, so that it need not fit into memory.

    `.npz` archives and `.ts` files are read as a whole.

    Args:
        path: A file of a format that its name tells.
        columns: What is needed of it; all if that is nothing, or if one of these is missing.
        rule: As of `read_table`.

    Yields:
        Tables (see `read_table`). A column may be of one type in one of them and of another in the next.

    Raises:
        DataError: As `read_table` does.
    """
    _require_file(path)
    suffix = _suffix(path)
    if suffix == PARQUET:
        tables = _parquet_batches(path, columns)
    elif suffix in _TEXTS:
        tables = _TEXTS[suffix](path, rule, _BLOCK)
    else:
        tables = iter([read_table(path)])
    is_empty = True
    with _wrap_errors(path):
        for table in tables:
            if is_empty:
                refuse_twins(path, table.column_names)
            is_empty &= not table.num_rows
            if table.num_rows:
                yield table
    if is_empty:
        raise DataError(f"{path}: has no rows")


def _suffix(path: Path) -> str:
    """What tells the format, without that of a compression."""
    suffix = path.with_suffix("").suffix if path.suffix in {".gz", ".bz2"} else path.suffix
    if suffix.lower() not in _FORMATS:
        raise DataError(f"{path}: the format is told by the name, which must end in one of {', '.join(_FORMATS)}")
    return suffix.lower()


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    """Put what readers say of a damaged file into one line."""
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except (ValueError, OSError, KeyError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def open_parquet(path: Path) -> Any:
    """Open a Parquet file, of which only what is asked for is read.

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
        file = parquet.ParquetFile(path, pre_buffer=False)  # which would keep all that has been read
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not file.metadata.num_rows:
        raise DataError(f"{path}: has no rows")
    refuse_twins(path, file.schema_arrow.names)
    return file


def _require_file(path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading files needs pyarrow: pip install 'ffattn[data]'")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")


def parse_csv(source: Any, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return columns of numbers from lines of CSV that come in pieces.

    Args:
        source: What pyarrow reads from.
        columns: Which columns are wanted.

    Raises:
        DataError: A column is missing, a value is text, or a line has another number of values.
    """
    import pyarrow as pa
    from pyarrow import csv

    kinds = dict.fromkeys(columns, pa.float64())
    convert = csv.ConvertOptions(column_types=kinds, include_columns=list(columns), null_values=NO_NUMBER)
    try:
        table = csv.read_csv(source, csv.ReadOptions(use_threads=False), convert_options=convert)
    except (pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"standard input: {' '.join(str(error).split())}") from error
    return {name: table[name].to_numpy() for name in columns}


def _parquet_batches(path: Path, columns: tuple[str, ...]) -> Iterator[Any]:
    import pyarrow as pa

    file = open_parquet(path)
    groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    of_row = max(1, sum(group.total_byte_size for group in groups) // file.metadata.num_rows)
    wanted = list(columns) if columns and set(columns) <= set(file.schema_arrow.names) else None
    for batch in file.iter_batches(max(1, _BLOCK // of_row), columns=wanted, use_threads=False):
        yield pa.Table.from_batches([batch])


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


_READERS: dict[str, Callable[[Path], Any]] = {
    PARQUET: _read_parquet,
    ARRAYS: read_npz,
    TIME_SERIES: read_ts,
}
