"""Long series, cut into windows of equal length."""

from dataclasses import replace

import numpy as np

from ffattn.errors import DataError
from ffattn.files.layouts import Layout
from ffattn.files.sequences import RawSequences
from ffattn.files.splits import PART_TITLES, TEST, TRAIN, VAL, SplitRule
from ffattn.system.lazy import Int

NO_PART = -1  # of a window that has steps of two parts


def cut_windows(raw: RawSequences, layout: Layout) -> RawSequences:
    """Return the windows of series: from the first step, every `stride` steps, as long as they are whole.

    The values of a window's columns (targets) are those at its last step. Windows are called after the first and the
    last of their steps, which count from 1 in the order of time: `pump:1-100`, or `1-100` in a file of one series.

    Args:
        raw: Series, whose columns have a value for each step.
        layout: What its columns are, with the windows.

    Raises:
        DataError: All series are shorter than a window.
    """
    assert layout.windows is not None
    steps, stride = layout.windows
    counts = np.maximum(0, (raw.lengths - steps) // stride + 1)
    if not counts.any():
        raise DataError(f"{raw.path}: no series has the {steps} steps of a window; the longest has {raw.lengths.max()}")
    series = np.repeat(np.arange(len(raw)), counts)
    places = np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = places * stride
    first = raw.offsets[:-1][series] + starts
    chosen = (first[:, None] + np.arange(steps)).ravel()
    names = [f"{raw.ids[number]}:" if layout.ids else "" for number in series]
    ids = [f"{name}{start + 1}-{start + steps}" for name, start in zip(names, starts.tolist(), strict=True)]
    return replace(
        raw,
        ids=np.array(ids, dtype=object),
        offsets=np.arange(len(series) + 1) * steps,
        features={name: column[chosen] for name, column in raw.features.items()},
        columns={name: column.take(first + steps - 1) for name, column in raw.columns.items()},
        rows=raw.rows[chosen],
        starts=None,  # windows are divided by their spans
        spans=np.stack([starts, starts + steps, raw.lengths[series]], axis=1),
        too_short=int((counts == 0).sum()),
    )


def assign_windows(raw: RawSequences, rule: SplitRule) -> Int[np.ndarray, " window"]:
    """Return the part of each window (see `assign_parts`): each series ends with its test, before which is validation.

    No step is in two parts: windows that would have steps of two belong to none, `NO_PART`.

    Args:
        raw: Windows.
        rule: The shares of the parts.

    Raises:
        DataError: No window lies within a part.
    """
    assert raw.spans is not None
    start, stop, length = raw.spans.T
    assert raw.layout.windows is not None
    stride = raw.layout.windows.stride  # parts begin where a window does
    bounds = np.zeros_like(length)
    parts = np.full(len(raw), NO_PART)
    shares = {TRAIN: 1 - rule.val_share - rule.test_share, VAL: rule.val_share, TEST: rule.test_share}
    end = 0.0
    for part, share in ((part, share) for part, share in shares.items() if share):
        end += share
        before = bounds
        is_last = np.isclose(end, 1)
        bounds = length if is_last else np.rint(end * length / stride).astype(np.int64) * stride
        parts[(start >= before) & (stop <= bounds)] = part
        if not (parts == part).any():
            most = int((bounds - before).max())
            raise DataError(
                f"{raw.path}: no window of {stop[0] - start[0]} steps lies within the {share:.0%} of a series that are "
                f"for {PART_TITLES[part]}, {most} steps at most; give a smaller task.window_steps or larger shares"
            )
    return parts
