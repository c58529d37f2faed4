"""Files with a row for each sequence: lists, a text, or a column for each step."""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import CHARACTERS, LISTS, TEXT, Layout, TableBlock
from ffattn.files.list_texts import NESTED, parse_lists
from ffattn.files.notation import other_notation
from ffattn.files.sequences import RawSequences
from ffattn.files.understanding import is_list
from ffattn.files.values import column_values, exact_column, is_text_type, parse_numbers, texts_in, texts_of, to_array

_ARRAY = re.compile(r"[\[(]\s*[-+.\d][-+.\deE,;\s]*[\])]|[-+.]?\d[-+.\deE]*([,;\s]+[-+.]?\d[-+.\deE]*)+")  # of numbers


def arrange_rows(block: TableBlock, layout: Layout) -> RawSequences:
    """Return the sequences that rows hold, one each.

    Args:
        block: Rows of a file.
        layout: What their columns are, understood, and of another form than the long one.

    Raises:
        DataError: The columns of features are of different kinds, or their lists of different lengths.
    """
    path, table, _ = block
    columns = {name: exact_column(path, table, name) for name in layout.of_sequence_in(table)}
    if layout.form == LISTS:
        raw = _from_lists(block, list(layout.features))
    elif layout.form == TEXT:
        if layout.tokens != CHARACTERS and layout.features[0] not in layout.texts:  # the words of a trained network
            _refuse_arrays(block, layout.features[0])
        raw = _from_texts(block, layout.features[0], layout.tokens)
    else:
        raw = _from_wide_rows(block, layout)
    return replace(raw, columns=columns)


def _from_lists(block: TableBlock, features: list[str]) -> RawSequences:
    inputs = {}
    offsets = None
    for name in features:
        column = _list_column(block, name)
        counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        own = np.concatenate(([0], np.cumsum(counts)))
        if offsets is not None and (wrong := np.flatnonzero(np.diff(own) != np.diff(offsets))).size:
            row = int(wrong[0])
            raise DataError(
                f"{block.where(row, name)}: {counts[row]} steps, and {np.diff(offsets)[row]} in {features[0]}"
            )
        offsets = own
        inputs[name] = to_array(block.path, name, column.flatten())
    assert offsets is not None
    return _numbered_by_row(block, offsets, inputs, features)


def _list_column(block: TableBlock, name: str) -> Any:
    """A column of lists, as such or written as text."""
    column = block.table[name].combine_chunks()
    if is_text_type(column.type):
        return parse_lists(block.path, name, column, block.first)
    if not is_list(column.type):
        raise DataError(f"{block.path}, column {name}: must hold a list for each sequence, and holds {column.type}")
    if is_list(column.type.value_type):
        raise DataError(f"{block.path}, column {name}: {NESTED}")
    return column


def _refuse_arrays(block: TableBlock, name: str) -> None:
    """Refuse texts that are all numbers in another notation, or arrays of numbers, whose digits would be words."""
    texts = [text for text in texts_in(block.path, block.table, name) if text]
    if advice := other_notation(set(texts)):
        raise DataError(f"{block.path}, column {name}: {texts[0][:40]!r} looks like a number or a time, and {advice}")
    if texts and all(_ARRAY.fullmatch(text.strip()) for text in texts):
        raise DataError(
            f"{block.path}, column {name}: holds arrays of numbers written as text ({texts[0][:20]!r}); write them "
            "in brackets, as in [1, 2, 3], or a column for each step"
        )


def split_text(text: str, tokens: str) -> list[str]:
    """Return the steps of a text: lower-case words and numbers, or its characters, as they are, without white space.

    Args:
        text: The text.
        tokens: One of `ffattn.files.layouts.TOKENS`.
    """
    if tokens == CHARACTERS:
        return list("".join(text.split()))
    return re.findall(r"\w+(?:'\w+)?", text.lower())


def _from_texts(block: TableBlock, name: str, tokens: str) -> RawSequences:
    texts = [split_text(text, tokens) for text in texts_in(block.path, block.table, name)]
    offsets = np.concatenate(([0], np.cumsum([len(words) for words in texts])))
    words = np.array([word for words in texts for word in words], dtype=object)
    return _numbered_by_row(block, offsets, {name: words}, [name], are_words=True)


def _from_wide_rows(block: TableBlock, layout: Layout) -> RawSequences:
    cells = [[column_values(block.path, block.table, name) for name in columns] for _, columns in layout.steps]
    values = np.stack([np.stack(steps, axis=1) for steps in _as_numbers(cells)], axis=2)
    is_gap = values == None if values.dtype == object else np.isnan(values)  # noqa: E711  # of each value
    is_there = np.asarray(~is_gap.all(axis=2))
    time = values.shape[1]
    lengths = np.where(is_there.any(axis=1), time - np.argmax(is_there[:, ::-1], axis=1), 0)
    is_real = np.arange(time) < lengths[:, None]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    inputs = {feature: values[..., place][is_real] for place, (feature, _) in enumerate(layout.steps)}
    return _numbered_by_row(block, offsets, inputs, list(layout.features))


def _as_numbers(cells: list[list[np.ndarray]]) -> list[list[np.ndarray]]:
    """Columns as numbers; or all as text where some text is no number, for `find_faults` to name."""
    parsed = [[parse_numbers(column) for column in steps] for steps in cells]
    if any(column.is_text.any() for steps in parsed for column in steps):
        return [[np.array(texts_of(column), dtype=object) for column in steps] for steps in cells]
    return [[column.numbers for column in steps] for steps in parsed]


def _numbered_by_row(
    block: TableBlock, offsets: np.ndarray, inputs: dict[str, np.ndarray], used: list[str], are_words: bool = False
) -> RawSequences:
    numbers = block.first + np.arange(1, len(offsets))
    ids = np.array([str(number) for number in numbers], dtype=object)
    rows = np.repeat(numbers, np.diff(offsets))
    return RawSequences(block.path, ids, offsets, inputs, {}, rows, tuple(used), are_words=are_words)
