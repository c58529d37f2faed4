"""What Raffel & Ellis report, arXiv 1512.08756: the numbers that results stand beside."""

from typing import Any

_LENGTHS = 50, 100, 500, 1000, 5000, 10000
_TABLE_1: dict[tuple[str, str], tuple[int | float, ...]] = {  # whole numbers: epochs; shares: solved after 100 epochs
    ("add", "ffattn"): (1, 1, 1, 1, 2, 3),
    ("add", "mean"): (1, 1, 1, 2, 8, 17),
    ("multiply", "ffattn"): (1, 2, 4, 2, 15, 6),
    ("multiply", "mean"): (2, 2, 8, 33, 0.898, 0.808),
}
_SECTION_2_3 = {  # shares solved after 100 epochs, lengths 50 to 10,000
    ("add", "ffattn"): 0.999,
    ("add", "mean"): 0.774,
    ("multiply", "ffattn"): 0.994,
    ("multiply", "mean"): 0.555,
}


def published(result: dict[str, Any]) -> int | float | None:
    """The paper's number for a run's cell: epochs (int) until all was solved, or the share (float) after 100 epochs.

    Args:
        result: What `result.json` holds.

    Returns:
        None if the paper has no such cell.
    """
    cell, length = (result["task"], result["model"]), result["settings"]["task"]["length"]
    rule = length["_target_"].rpartition(".")[2]
    if rule == "Paper" and length["T"] in _LENGTHS and cell in _TABLE_1:
        return _TABLE_1[cell][_LENGTHS.index(length["T"])]
    if rule == "Variable" and (length["T"], length["min"]) == (10000, 50):
        return _SECTION_2_3.get(cell)
    return None
