"""CSV and JSON Lines: read by pyarrow some megabytes at a time, the same for training and for answers."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ffattn.errors import DataError, SettingError
from ffattn.files.headers import AUTO, find_delimiter, find_names, refuse_twins
from ffattn.files.typed_texts import typed_texts
from ffattn.files.values import NO_NUMBER, texts_of

UTF_8 = "utf-8"
_BLOCK = 1 << 23  # bytes of a file that are read at a time
_LARGE = 1 << 26  # likewise, where all of it goes into memory
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # the first bytes of a file
_BOM = b"\xef\xbb\xbf"  # likewise, of UTF-8
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")  # likewise
_POINT = r"^\s*[+-]?([0-9]+\.[0-9]+|[0-9]{1,3}(\.[0-9]{3})+(,[0-9]+)?)\s*$"  # a date such as 24.12.2024 is none
_POINT_OR_COMMA = rf"{_POINT}|^\s*[+-]?[0-9]*,?[0-9]+([eE][+-]?[0-9]+)?\s*$"
_LARGEST = 2**53  # whole number, up to which float64 has all


class TextRule(NamedTuple):
    """How the cells of a text file are read.

    Attributes:
        texts: Columns that hold text whatever their values look like, so that 007 is not 7.
        exact: Columns of which no digit may be lost (see `ffattn.files.values.typed_texts`).
        header: Whether the first line of a CSV has the names of columns (see `ffattn.files.headers.find_names`).
        decimal: What stands before the fraction of a number in CSV.
        encoding: Of the file; UTF-16 and UTF-32 with a mark are recognised.
    """

    texts: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    header: bool | str = AUTO
    decimal: str = "."
    encoding: str = UTF_8


PLAIN = TextRule()
DECIMALS = {"point": ".", "comma": ","}


class TextSettings(NamedTuple):
    """What a person says of a text file; None for what is not said.

    Attributes:
        header: true, false or `auto`, as of `TextRule`.
        decimal: One of `DECIMALS`.
        encoding: As Python calls it.
    """

    header: Any = None
    decimal: str | None = None
    encoding: str | None = None

    def rule(self, others: TextRule = PLAIN) -> TextRule:
        """Return how the cells are read.

        Args:
            others: Tells what is not said.

        Raises:
            SettingError: A setting is none of these.
        """
        if self.header not in (None, AUTO, True, False):
            raise SettingError("header", self.header, "must be true, false or auto")
        if self.decimal not in (None, *DECIMALS):
            raise SettingError("decimal", self.decimal, f"must be one of {', '.join(DECIMALS)}")
        try:
            "a".encode(self.encoding or UTF_8)
        except LookupError as error:
            raise SettingError("encoding", self.encoding, "is not known; utf-8, latin-1 and cp1252 are") from error
        return others._replace(
            header=others.header if self.header is None else self.header,
            decimal=others.decimal if self.decimal is None else DECIMALS[self.decimal],
            encoding=others.encoding if self.encoding is None else self.encoding.lower(),
        )


Blocks = Callable[[Path, TextRule, int], Iterator[Any]]


def read_whole(blocks: Blocks, path: Path, rule: TextRule) -> Any:
    """Return a file as one table; a column that is text anywhere is text everywhere, as it is in the file.

    Args:
        blocks: `csv_blocks` or `json_blocks`.
        path: The file.
        rule: How its cells are read.

    Raises:
        DataError: Two columns have the same name.
    """
    import pyarrow as pa

    tables = list(blocks(path, rule, _LARGE))
    if not tables:
        raise ValueError("the file is empty")
    refuse_twins(path, tables[0].column_names)
    if mixed := _mixed_columns(tables):
        tables = list(blocks(path, rule._replace(texts=(*rule.texts, *mixed)), _LARGE))
    return pa.concat_tables(tables, promote_options="permissive")


def _mixed_columns(tables: list[Any]) -> list[str]:
    import pyarrow as pa

    kinds: dict[str, set[Any]] = {}
    for table in tables:
        for column in table.schema:
            kinds.setdefault(column.name, set()).add(column.type)
    numbers = {pa.int64(), pa.float64()}
    known = {name: types - {pa.null()} for name, types in kinds.items()}
    return [name for name, types in known.items() if len(types) > 1 and types != numbers]


def csv_blocks(path: Path, rule: TextRule, size: int = _BLOCK) -> Iterator[Any]:
    """Return the rows of a CSV as tables.

    Args:
        path: The file; its name tells the delimiter, unless the first line has only semicolons or tabs.
        rule: How its cells are read.
        size: How many bytes go into a table, about.
    """
    from pyarrow import csv

    kinds = dict.fromkeys((*rule.texts, *rule.exact), "string")
    convert = csv.ConvertOptions(null_values=NO_NUMBER, column_types=kinds, decimal_point=rule.decimal)
    names: list[str] | None = None
    parse: Any = None
    first = 0
    for lines in _blocks(path, rule.encoding, size, has_quotes=True):
        if parse is None:
            delimiter = find_delimiter(lines, "\t" if ".tsv" in path.suffixes else ",", rule.decimal)
            names = find_names(path, lines, delimiter, rule.header, rule.decimal)
            parse = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
        read = csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1, len(lines)))
        with _counted_from(first if names else -1):  # the header is the first line's
            table = _csv_table(lines, read, parse, convert)
        names = table.column_names
        if rule.decimal == ",":
            _refuse_points(path, table, first, rule)
        first += table.num_rows
        yield _with_exact_columns(table, rule)


def _csv_table(lines: bytes, read: Any, parse: Any, convert: Any) -> Any:
    """Rows, in which 0x1F is text: pyarrow takes it for a whole number."""
    import pyarrow as pa
    from pyarrow import compute, csv

    table = csv.read_csv(io.BytesIO(lines), read, parse, convert)
    whole = [place for place, column in enumerate(table.schema) if pa.types.is_integer(column.type)]
    if not whole or b"0x" not in lines.lower():
        return table
    kinds = {**convert.column_types, **dict.fromkeys((table.schema[place].name for place in whole), pa.string())}
    kept = csv.ConvertOptions(null_values=NO_NUMBER, column_types=kinds, decimal_point=convert.decimal_point)
    texts = csv.read_csv(io.BytesIO(lines), read, parse, kept)
    for place in whole:
        if compute.any(compute.match_substring(texts[place], "0x", ignore_case=True)).as_py():
            table = table.set_column(place, table.schema[place].name, texts[place])
    return table


def _refuse_points(path: Path, table: Any, first: int, rule: TextRule) -> None:
    """Refuse numbers with points where commas are said to stand before fractions: 1.500 may be 1500 or 1.5."""
    import pyarrow as pa
    from pyarrow import compute

    for name, column in zip(table.column_names, table.columns, strict=True):
        if name in rule.texts or not pa.types.is_string(column.type):
            continue
        values = column.combine_chunks()
        has_point = compute.match_substring_regex(values, _POINT).fill_null(fill_value=False)
        are_numbers = compute.all(compute.match_substring_regex(values, _POINT_OR_COMMA)).as_py()
        if are_numbers and (row := compute.index(has_point, value=True).as_py()) >= 0:
            raise DataError(
                f"{path}, row {first + row + 1}, column {name}: {values[row].as_py()!r} has a point beside "
                "task.decimal=comma; write numbers with a comma before the fraction, and nothing between thousands"
            )


def _with_exact_columns(table: Any, rule: TextRule) -> Any:
    for name in set(rule.exact) & set(table.column_names):
        if table.column_names.count(name) == 1 and name not in rule.texts:
            column = typed_texts(table[name].combine_chunks(), rule.decimal)
            table = table.set_column(table.column_names.index(name), name, column)
    return table


def json_blocks(path: Path, rule: TextRule, size: int = _BLOCK) -> Iterator[Any]:
    """Return the objects of JSON Lines as tables.

    Args:
        path: The file.
        rule: How its values are read.
        size: How many bytes go into a table, about.
    """
    import pyarrow as pa

    names: list[str] = []
    first = 0
    for lines in _blocks(path, rule.encoding, size):
        if first == 0 and lines.lstrip().startswith(b"["):
            raise DataError(f"{path}: is a JSON array; write its objects in a line each, without commas between them")
        with _counted_from(first):
            table = _json_table(path, lines, rule)
        names = names or table.column_names
        for name in set(names) - set(table.column_names):  # what no object of a block has is there all the same
            table = table.append_column(name, pa.nulls(len(table)))
        yield table
        first += table.num_rows


def _json_table(path: Path, lines: bytes, rule: TextRule) -> Any:
    """Objects, read a second time where pyarrow made times of texts or float64 of longer numbers."""
    import pyarrow as pa
    from pyarrow import json

    read = json.ReadOptions(use_threads=False, block_size=max(1, len(lines)))
    table = json.read_json(io.BytesIO(lines), read)
    exact = [name for name in dict.fromkeys((*rule.texts, *rule.exact)) if name in table.column_names]
    kinds = {name: pa.string() for name in exact if pa.types.is_temporal(table[name].type)}
    kinds |= {name: pa.decimal128(38, 0) for name in exact if _has_long_numbers(table[name])}
    if kinds:
        parse = json.ParseOptions(explicit_schema=pa.schema(kinds))
        try:
            table = json.read_json(io.BytesIO(lines), read, parse)
        except pa.ArrowInvalid as error:
            long = next(iter(kinds))
            raise DataError(
                f"{path}, column {long}: has whole numbers of more than 15 digits beside other values ({error}); "
                "put them in quotes"
            ) from error
    for name in set(rule.texts) & set(table.column_names):
        if pa.types.is_floating(table[name].type):  # JSON has one type of numbers: 3 is 3 beside 2.5, too
            texts = pa.array(texts_of(table[name].combine_chunks()), pa.string())
            table = table.set_column(table.column_names.index(name), name, texts)
    return table


def _has_long_numbers(column: Any) -> bool:
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        return False
    numbers = column.to_numpy()
    return bool((np.abs(numbers[np.isfinite(numbers)]) >= _LARGEST).any())


def _blocks(path: Path, encoding: str, size: int, has_quotes: bool = False) -> Iterator[bytes]:
    """Whole lines of a text in UTF-8, so many bytes at a time, without the mark at its beginning; none ends in quotes.

    Raises:
        DataError: The file has another encoding.
    """
    done = 0
    with io.BufferedReader(_open_text(path, encoding)) as file:
        parts: list[bytes] = []
        quotes = 0
        while lines := file.readlines(size):
            parts.append(b"".join(lines))
            quotes += parts[-1].count(b'"')
            if not has_quotes or quotes % 2 == 0:
                yield _checked(path, b"".join(parts), done)
                done += sum(part.count(b"\n") for part in parts)
                parts = []
                quotes = 0
        if parts:
            yield _checked(path, b"".join(parts), done)


def _open_text(path: Path, encoding: str) -> Any:
    import pyarrow as pa

    with pa.input_stream(path, compression="detect") as file:
        first = file.read(4)
    if first in _UTF_32:
        encoding = "utf-32"
    elif first[:2] in _UTF_16:
        encoding = "utf-16"
    file = pa.input_stream(path, compression="detect")
    return file if encoding == UTF_8 else pa.transcoding_input_stream(file, encoding, "utf8")


def _checked(path: Path, lines: bytes, done: int) -> bytes:
    """Lines without a mark at the beginning of the file; refused unless they are UTF-8."""
    if done == 0 and b"\0" in lines.partition(b"\n")[0]:
        raise DataError(f"{path}, line 1: has bytes that are 0, as UTF-16 has; give task.encoding=utf-16-le (or -be)")
    try:
        lines.decode()
    except UnicodeDecodeError as error:
        line = done + lines.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: is not in UTF-8; give task.encoding=cp1252 (Windows), latin-1 or what it is in, or "
            f"convert it: iconv -f cp1252 -t utf-8"
        ) from error
    return lines.removeprefix(_BOM) if done == 0 else lines


@contextmanager
def _counted_from(first: int) -> Iterator[None]:
    """Rows in messages of pyarrow, as rows of the whole file."""
    import pyarrow as pa

    try:
        yield
    except pa.ArrowInvalid as error:
        text = re.sub(r"Row #(\d+)", lambda found: f"row {first + int(found[1])}", str(error))
        raise ValueError(re.sub(r"in row (\d+)", lambda found: f"in row {first + int(found[1]) + 1}", text)) from error
