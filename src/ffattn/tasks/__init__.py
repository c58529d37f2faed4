"""The tasks, and the rules for how long their sequences are."""

from typing import TYPE_CHECKING

from ffattn.system.lazy_modules import names_from

if TYPE_CHECKING:
    from ffattn.rng.streams import BatchWindow, Grid
    from ffattn.tasks.add import Add
    from ffattn.tasks.arrays import Arrays
    from ffattn.tasks.base import Baseline, Classification, Regression, Task
    from ffattn.tasks.batch import Batch
    from ffattn.tasks.file import File
    from ffattn.tasks.given import Given, GivenTask, Own
    from ffattn.tasks.length import Fixed, Length, Paper, Variable
    from ffattn.tasks.marked import MarkedPair
    from ffattn.tasks.multiply import Multiply
    from ffattn.tasks.packaged import AMPvsUniProt, BasicMotions, JapaneseVowels, Plaid, Tecator, Watch
    from ffattn.tasks.temporal_order import TemporalOrder, TemporalOrder2, TemporalOrder3
    from ffattn.tasks.xor import Xor

__all__ = [
    "AMPvsUniProt",
    "Add",
    "Arrays",
    "Baseline",
    "BasicMotions",
    "Batch",
    "BatchWindow",
    "Classification",
    "File",
    "Fixed",
    "Given",
    "GivenTask",
    "Grid",
    "JapaneseVowels",
    "Length",
    "MarkedPair",
    "Multiply",
    "Own",
    "Paper",
    "Plaid",
    "Regression",
    "Task",
    "Tecator",
    "TemporalOrder",
    "TemporalOrder2",
    "TemporalOrder3",
    "Variable",
    "Watch",
    "Xor",
]

__getattr__, __dir__ = names_from(
    __name__,
    __all__,
    "length",
    "base",
    "add",
    "multiply",
    "xor",
    "temporal_order",
    "marked",
    "batch",
    "given",
    "file",
    "arrays",
    "packaged",
)
