"""Data sets that a package's own function loads, where their files are in no format that others read."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _watch() -> Any:
    """A row for each exercise: its six channels, the exercise, the person and the side."""
    import pyarrow as pa
    from seglearn.datasets import load_watch

    data = load_watch()  # a pickle, but the package's own
    names, kinds = data["X_labels"], data["y_labels"]
    columns = {name: pa.array([x[:, i] for x in data["X"]]) for i, name in enumerate(names)}
    exercises = [kinds[number] for number in np.asarray(data["y"], dtype=int)]
    people, sides = (np.asarray(data[name], dtype=int) for name in ("subject", "side"))
    return pa.table(columns | {"exercise": exercises, "subject": people, "side": sides})


def _peptides() -> Any:
    """A row for each peptide: its amino acids as letters, and where it is from."""
    import pyarrow as pa
    from modlamp.datasets import load_AMPvsUniProt

    data = load_AMPvsUniProt()
    kinds = [str(data.target_names[number]) for number in data.target]
    return pa.table({"sequence": [str(letters) for letters in data.sequences], "kind": kinds})


LOADERS: dict[str, Callable[[], Any]] = {"seglearn:watch": _watch, "modlamp:AMPvsUniProt": _peptides}
