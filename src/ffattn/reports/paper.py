"""What Raffel & Ellis report, arXiv 1512.08756: the numbers that results stand beside."""

from typing import Any, NamedTuple


class Published(NamedTuple):
    """The paper's number for a cell: one of the two, or neither.

    Attributes:
        epochs: Of 1,000 updates, until every sequence of an epoch's evaluation was solved.
        accuracy: The best (0..1) in 100 epochs.
    """

    epochs: int | None = None
    accuracy: float | None = None


_LENGTHS = 50, 100, 500, 1000, 5000, 10000
_TABLE_1: dict[tuple[str, str], tuple[int | float, ...]] = {  # whole numbers: epochs; shares: accuracy
    ("add", "ffattn"): (1, 1, 1, 1, 2, 3),
    ("add", "mean"): (1, 1, 1, 2, 8, 17),
    ("multiply", "ffattn"): (1, 2, 4, 2, 15, 6),
    ("multiply", "mean"): (2, 2, 8, 33, 0.898, 0.808),
}
_SECTION_2_3 = {  # accuracy, lengths 50 to 10,000
    ("add", "ffattn"): 0.999,
    ("add", "mean"): 0.774,
    ("multiply", "ffattn"): 0.994,
    ("multiply", "mean"): 0.555,
}


def published(result: dict[str, Any]) -> Published:
    """Return the paper's number for a run's cell, if it has one.

    Args:
        result: What `result.json` holds.
    """
    cell = result["task"], result["model"]
    length = result["settings"]["task"]["length"]
    rule = length["_target_"].rpartition(".")[2]
    if rule == "Paper" and length["T"] in _LENGTHS and cell in _TABLE_1:
        value = _TABLE_1[cell][_LENGTHS.index(length["T"])]
        return Published(accuracy=value) if isinstance(value, float) else Published(epochs=value)
    if rule == "Variable" and (length["T"], length["min"]) == (10000, 50):
        return Published(accuracy=_SECTION_2_3.get(cell))
    return Published()
