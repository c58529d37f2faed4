"""Data sets that a package's own function loads, where their files are in no format that others read."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _load_watch() -> Any:
    """A row for each exercise: its six channels, the exercise, the person and the side."""
    import pyarrow as pa
    from seglearn.datasets import load_watch

    data = load_watch()  # a pickle, but the package's own
    columns = {name: pa.array([x[:, i] for x in data["X"]]) for i, name in enumerate(data["X_labels"])}
    exercises = [data["y_labels"][number] for number in np.asarray(data["y"], dtype=int)]
    columns |= {"exercise": exercises, "subject": np.asarray(data["subject"], dtype=int)}
    return pa.table(columns | {"side": np.asarray(data["side"], dtype=int)})


def _load_peptides() -> Any:
    """A row for each peptide: its amino acids as letters, and where it is from."""
    import pyarrow as pa
    from modlamp.datasets import load_AMPvsUniProt

    data = load_AMPvsUniProt()
    kinds = [str(data.target_names[number]) for number in data.target]
    return pa.table({"sequence": [str(letters) for letters in data.sequences], "kind": kinds})


LOADERS: dict[str, Callable[[], Any]] = {
    "seglearn:watch": _load_watch,
    "modlamp:AMPvsUniProt": _load_peptides,
}
