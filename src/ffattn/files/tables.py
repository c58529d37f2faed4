"""A file as a table, by well-kept readers."""

import importlib.util
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.archives import read_npz, read_ts
from ffattn.files.loaders import LOADERS

MISSING_TEXT = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"]
ARRAYS = ".npz"
TIME_SERIES = ".ts"
PARQUET = ".parquet"
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
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


def read_table(path: Path, texts: tuple[str, ...] = ()) -> Any:
    """Return the file as a pyarrow table.

    Args:
        path: A file of a format that its name tells; or one of `LOADERS`.
        texts: Columns of CSV that hold text whatever their values look like, so that 007 is not 7.

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
        table = _read_csv(path, _DELIMITERS[suffix], texts) if suffix in _DELIMITERS else _READERS[suffix](path)
        names = table.column_names
    if not table.num_rows:
        raise DataError(f"{path}: has no rows")
    _refuse_twins(path, names)
    return table


def read_tables(path: Path, columns: tuple[str, ...] = (), texts: tuple[str, ...] = ()) -> Iterator[Any]:
    """Return the file as pyarrow tables, each with the next rows, so that it need not fit into memory.

    `.npz` archives and `.ts` files are read as a whole.

    Args:
        path: A file of a format that its name tells.
        columns: What is needed of it; all if that is nothing, or if one of these is missing.
        texts: As of `read_table`.

    Yields:
        Tables (see `read_table`). A column may be of one type in one of them and of another in the next.

    Raises:
        DataError: As `read_table` does.
    """
    _require_file(path)
    suffix = _suffix(path)
    if suffix == PARQUET:
        tables = _parquet_batches(path, columns)
    elif suffix in _DELIMITERS:
        tables = _csv_blocks(path, _DELIMITERS[suffix], texts)
    elif suffix in _JSON_LINES:
        tables = _json_blocks(path)
    else:
        tables = iter([read_table(path)])
    is_empty = True
    with _wrap_errors(path):
        for table in tables:
            if is_empty:
                _refuse_twins(path, table.column_names)
            is_empty &= not table.num_rows
            if table.num_rows:
                yield table
    if is_empty:
        raise DataError(f"{path}: has no rows")


def _suffix(path: Path) -> str:
    """What tells the format, without that of a compression."""
    suffix = path.with_suffix("").suffix if path.suffix in {".gz", ".bz2"} else path.suffix
    formats = (*_DELIMITERS, *_READERS)
    if suffix.lower() not in formats:
        raise DataError(f"{path}: the format is told by the name, which must end in one of {', '.join(formats)}")
    return suffix.lower()


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    """Put what readers say of a damaged file into one line."""
    try:
        yield
    except DataError:
        raise
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:  # pyarrow's errors are ValueErrors
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
    convert = csv.ConvertOptions(column_types=kinds, include_columns=list(columns), null_values=MISSING_TEXT)
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


def _csv_blocks(path: Path, delimiter: str, texts: tuple[str, ...]) -> Iterator[Any]:
    from pyarrow import csv

    convert = _csv_conversion(texts)
    parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    names = None
    first = 0
    for lines in _blocks(path, has_quotes=True):
        read = csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1, len(lines)))
        with _counted_from(first if names else -1):  # the header is the first line's
            table = csv.read_csv(io.BytesIO(lines), read, parse, convert)
        yield table
        names = table.column_names
        first += table.num_rows


def _json_blocks(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    from pyarrow import json

    names: list[str] = []
    first = 0
    for lines in _blocks(path):
        with _counted_from(first):
            table = json.read_json(io.BytesIO(lines), json.ReadOptions(use_threads=False, block_size=len(lines)))
        names = names or table.column_names
        for name in set(names) - set(table.column_names):  # what no object of a block has is there all the same
            table = table.append_column(name, pa.nulls(len(table)))
        yield table
        first += table.num_rows


def _blocks(path: Path, has_quotes: bool = False) -> Iterator[bytes]:
    """Whole lines of a text, some megabytes at a time; none ends within quotes."""
    import pyarrow as pa

    with io.BufferedReader(pa.input_stream(path, compression="detect")) as file:
        parts = []
        quotes = 0
        while lines := file.readlines(_BLOCK):
            parts.append(b"".join(lines))
            quotes += parts[-1].count(b'"')
            if not has_quotes or quotes % 2 == 0:
                yield b"".join(parts)
                parts = []
                quotes = 0
        if parts:
            yield b"".join(parts)


@contextmanager
def _counted_from(first: int) -> Iterator[None]:
    """Rows in messages of pyarrow, as rows of the whole file."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        text = re.sub(r"Row #(\d+)", lambda found: f"row {first + int(found[1])}", str(error))
        raise ValueError(re.sub(r"in row (\d+)", lambda found: f"in row {first + int(found[1]) + 1}", text)) from error


def _csv_conversion(texts: tuple[str, ...]) -> Any:
    from pyarrow import csv

    kinds = dict.fromkeys(texts, "string")
    return csv.ConvertOptions(null_values=MISSING_TEXT, strings_can_be_null=True, column_types=kinds)


def _read_csv(path: Path, delimiter: str, texts: tuple[str, ...]) -> Any:
    from pyarrow import csv

    parse = csv.ParseOptions(delimiter=delimiter)
    return csv.read_csv(path, parse_options=parse, convert_options=_csv_conversion(texts))


def _read_parquet(path: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(path)


def _read_json_lines(path: Path) -> Any:
    from pyarrow import json

    return json.read_json(path)


_READERS: dict[str, Callable[[Path], Any]] = {
    PARQUET: _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ARRAYS: read_npz,
    TIME_SERIES: read_ts,
}
