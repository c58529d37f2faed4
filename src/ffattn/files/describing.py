"""What was understood of a file, in words: a person should see it before anything is trained or answered."""

from collections.abc import Iterable

import numpy as np

from ffattn.files.layouts import LISTS, LONG, TEXT, WIDE, Layout, LeftOut, some_of
from ffattn.files.row_groups import ParquetPieces
from ffattn.files.sequences import RawSequences

_ROWS = {
    LONG: "a row for each step",
    LISTS: "a row for each sequence",
    TEXT: "a row for each sequence",
    WIDE: "a column for each step",
}
_FORMS = {LONG: "long form", LISTS: "lists", TEXT: "text", WIDE: "wide form"}
_MOST = 8  # names that are shown


def describe_layout(file: RawSequences | ParquetPieces, layout: Layout, targets: tuple[str, ...]) -> str:
    """Return the layout of a file in a line: its form, sequences, steps, features, target, and what is left out.

    Args:
        file: Its sequences, or where they are.
        layout: As it was understood.
        targets: The columns that are predicted.
    """
    lengths = np.asarray(file.lengths)
    steps = f"{lengths.min()}" if lengths.min() == lengths.max() else f"{lengths.min()} to {lengths.max()}"
    parts = [
        f"{_FORMS[layout.form]}, {_ROWS[layout.form]}",
        f"{len(lengths):,} {_sequences(layout)} of {steps} step{'' if steps == '1' else 's'}",
        f"features {_features(layout)}",
        f"target {some_of(targets)}",
        *left_out_of(layout.left_out),
        *(["task.features=[...] keeps what is left out"] if layout.left_out else []),
    ]
    return "; ".join(parts)


def _sequences(layout: Layout) -> str:
    by = f" by {' and '.join(layout.ids)}" if layout.ids else ""
    order = f" in the order of {layout.time or 'the file'}" if layout.form == LONG else ""
    if layout.windows is not None:
        return f"windows, one every {layout.windows.stride} steps of each series{by}{order},"
    return f"sequences{by}{order}"


def _features(layout: Layout) -> str:
    if layout.form != WIDE:
        return some_of(layout.features)
    return some_of([f"{name} ({_span(columns)})" for name, columns in layout.steps])


def _span(columns: tuple[str, ...]) -> str:
    return columns[0] if len(columns) == 1 else f"{columns[0]} .. {columns[-1]}"


def left_out_of(columns: Iterable[LeftOut]) -> list[str]:
    """Return a phrase on columns that are not read, or nothing if there is none.

    Args:
        columns: The columns.
    """
    names: dict[str, list[str]] = {}
    for name, reason in columns:
        names.setdefault(reason, []).append(name)
    if not names:
        return []
    groups = ", ".join(f"{some_of(some, _MOST)} ({reason})" for reason, some in names.items())
    return [f"left out: {groups}"]


def notes_of(raw: RawSequences) -> list[str]:
    """Return what is odd about sequences, and does not keep them from being used.

    Args:
        raw: Sequences, perhaps without their features.
    """
    counts = {
        "duplicate rows repeat the id and time of another one": raw.repeated,
        "sequences without a target are left out": raw.unlabelled,
        "series are shorter than a window, and left out": raw.too_short,
    }
    return [f"{count:,} {what}" for what, count in counts.items() if count]
