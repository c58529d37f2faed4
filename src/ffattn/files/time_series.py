"""`.ts` files of the time-series archive: a line for each sequence, with colons between its dimensions and its class.

sktime's reader is not used, since it reads `Cat` and `CAT` as one class, cat.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ffattn.errors import DataError
from ffattn.files.list_texts import number_lists
from ffattn.files.typed_texts import typed_texts

TARGET = "target"
_CLASS = "classlabel"
_NUMBER = "targetlabel"
_BOM = b"\xef\xbb\xbf"


def read_ts(path: Path) -> Any:
    """Return a pyarrow table of a `.ts` file: a column of lists for each dimension, and the column `target`, if any.

    Args:
        path: A file in the format of timeseriesclassification.com. The text ? is a missing value.

    Raises:
        DataError: It is in another format, or a value is no number.
    """
    import pyarrow as pa

    with _open(path) as file:
        settings = _settings(path, file)
        lines = [line for line in map(bytes.strip, file) if line and not line.startswith(b"#")]
    if settings["timestamps"]:
        raise DataError(f"{path}: has time stamps, which are not read; write it as CSV with task.id= and task.time=")
    rows = [_text(path, line).split(":") for line in lines]
    targets = [row.pop().strip() for row in rows] if settings[_CLASS] or settings[_NUMBER] else None
    count = len(rows[0]) if rows else 0
    if odd := [number for number, row in enumerate(rows, start=1) if len(row) != count]:
        raise DataError(f"{path}, row {odd[0]}: has {len(rows[odd[0] - 1])} dimensions, and {count} in row 1")
    columns = {f"dim_{i}": number_lists(path, f"dim_{i}", [_values(row[i]) for row in rows]) for i in range(count)}
    if targets is not None:
        texts = pa.array(targets, pa.string())
        columns[TARGET] = typed_texts(texts) if settings[_NUMBER] else texts
    return pa.table(columns)


def has_classes(path: Path) -> bool | None:
    """Return whether the targets of a `.ts` file are classes, rather than numbers; None if it has none.

    Args:
        path: The file.

    Raises:
        DataError: It is in another format.
    """
    if not path.is_file():
        return None
    with _open(path) as file:
        settings = _settings(path, file)
    return settings[_CLASS] if settings[_CLASS] or settings[_NUMBER] else None


def _open(path: Path) -> Any:
    import pyarrow as pa

    return io.BufferedReader(pa.input_stream(path, compression="detect"))


def _settings(path: Path, file: Iterable[bytes]) -> dict[str, bool]:
    """Which settings the file says are true, up to the line `@data`; comments may be in any encoding."""
    said = {"timestamps": False}
    for line in file:
        key, *values = line.strip().removeprefix(_BOM).lower().split(maxsplit=2) or [b""]
        if key == b"@data":
            if _CLASS not in said and _NUMBER not in said:
                raise DataError(f"{path}: says nothing of classes; if it has none, add a line @classLabel false")
            return {_CLASS: False, _NUMBER: False} | said
        if key.startswith(b"@"):
            said[_text(path, key[1:])] = values[:1] == [b"true"]
    raise DataError(f"{path}: not a time-series file: it has no line @data")


def _text(path: Path, line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not in UTF-8; convert it: iconv -f cp1252 -t utf-8") from error


def _values(text: str) -> list[str]:
    """The values of a dimension of a sequence."""
    return text.split(",") if text.strip() else []
