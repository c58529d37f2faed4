"""Files with a row for each sequence: lists, a text, or a column for each step."""

import re
from dataclasses import replace
from typing import Any

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import CHARACTERS, Layout, TableBlock
from ffattn.files.sequences import RawSequences
from ffattn.files.values import column_values, exact_column, holds_words, parse_numbers, texts_in, to_array

_STEP = re.compile(r"(.*?)[_.]?(\d+)")  # a column of the wide form: a name and the number of a step
_VALUE = "value"  # what a feature is called whose columns have no name in common


def arrange_rows(block: TableBlock, layout: Layout, features: list[str]) -> RawSequences:
    """Return the sequences that rows hold, one each.

    Args:
        block: Rows of a file.
        layout: What their columns are, without one of ids.
        features: The columns that are inputs.

    Raises:
        DataError: The columns of features are of different kinds, or their lists of different lengths.
    """
    path, table, _ = block
    lists = [name for name in features if _is_list(table[name].type)]
    texts = [name for name in features if name in layout.texts or holds_words(path, table, name)]
    columns = {name: exact_column(path, table, name) for name in layout.of_sequence_in(table)}
    if lists:
        if layout.features and lists != features:
            odd = next(name for name in features if name not in lists)
            raise DataError(f"{path}, column {odd}: must hold a list for each sequence, as column {lists[0]} does")
        raw = _from_lists(block, lists)
    elif texts and len(features) == 1:
        raw = _from_texts(block, texts[0], layout.tokens)
    elif texts:
        raise DataError(
            f"{path}, column {texts[0]}: holds text; name the column that tells sequences apart with id=COLUMN if each "
            f"row is a step, or choose features=[...]"
        )
    else:
        raw = _from_wide_rows(block, features)
    return replace(raw, columns=columns)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _from_lists(block: TableBlock, features: list[str]) -> RawSequences:
    inputs = {}
    offsets = None
    for name in features:
        column = block.table[name].combine_chunks()
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


def _from_texts(block: TableBlock, name: str, tokens: str) -> RawSequences:
    """Lower-case words and numbers in the order of the text; or its characters, as they are, without white space."""
    given = texts_in(block.path, block.table, name)
    if tokens == CHARACTERS:
        texts = [list("".join(text.split())) for text in given]
    else:
        texts = [re.findall(r"\w+(?:'\w+)?", text.lower()) for text in given]
    offsets = np.concatenate(([0], np.cumsum([len(words) for words in texts])))
    words = np.array([word for words in texts for word in words], dtype=object)
    return _numbered_by_row(block, offsets, {name: words}, [name], are_words=True)


def _from_wide_rows(block: TableBlock, names: list[str]) -> RawSequences:
    groups = _columns_by_feature(names)
    steps = [
        np.stack([parse_numbers(column_values(block.path, block.table, name)).numbers for name in columns], axis=1)
        for columns in groups.values()
    ]
    values = np.stack(steps, axis=2)
    is_there = ~np.isnan(values).all(axis=2)
    time = values.shape[1]
    lengths = np.where(is_there.any(axis=1), time - np.argmax(is_there[:, ::-1], axis=1), 0)
    is_real = np.arange(time) < lengths[:, None]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    inputs = {name: values[..., place][is_real] for place, name in enumerate(groups)}
    return _numbered_by_row(block, offsets, inputs, names)


def _columns_by_feature(names: list[str]) -> dict[str, list[str]]:
    """The columns of each feature, in the order of their numbers; of a single one if they are not numbered alike."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        found = _STEP.fullmatch(name)
        if found is None:
            return {_VALUE: names}
        groups.setdefault(found[1] or _VALUE, []).append((int(found[2]), name))
    ordered = {prefix: sorted(steps) for prefix, steps in groups.items()}
    numbers = {tuple(number for number, _ in steps) for steps in ordered.values()}
    if len(numbers) > 1:
        return {_VALUE: names}
    return {prefix: [name for _, name in steps] for prefix, steps in ordered.items()}


def _numbered_by_row(
    block: TableBlock, offsets: np.ndarray, inputs: dict[str, np.ndarray], used: list[str], are_words: bool = False
) -> RawSequences:
    numbers = block.first + np.arange(1, len(offsets))
    ids = np.array([str(number) for number in numbers], dtype=object)
    rows = np.repeat(numbers, np.diff(offsets))
    return RawSequences(block.path, ids, offsets, inputs, {}, rows, tuple(used), are_words=are_words)
