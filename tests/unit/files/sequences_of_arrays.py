"""Sequences as a file would hold them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from ffattn.files import RawSequences


def raw(features, targets, lengths=None, **named):
    """Sequences of two steps each unless told otherwise."""
    count = len(next(iter(targets.values())))
    offsets = np.concatenate(([0], np.cumsum(lengths or [2] * count)))
    features = {
        name: np.array(values, dtype=object if any(isinstance(v, str) for v in values) else float)
        for name, values in features.items()
    }
    columns = {
        name: pa.array(values, pa.string() if isinstance(values[0], str) else pa.float64(), from_pandas=True)
        for name, values in targets.items()
    }
    ids = np.array([str(i + 1) for i in range(count)], dtype=object)
    return RawSequences(
        Path("data.csv"), ids, offsets, features, columns, np.arange(offsets[-1]) + 1, tuple(features), **named
    )
