"""The tasks, and the rules for how long their sequences are."""

from ffattn.tasks.add import Add
from ffattn.tasks.base import Classification, Floor, Regression, Task
from ffattn.tasks.length import Fixed, Length, Paper, Variable
from ffattn.tasks.marked import MarkedPair
from ffattn.tasks.multiply import Multiply
from ffattn.tasks.temporal_order import TemporalOrder, TemporalOrder2, TemporalOrder3
from ffattn.tasks.xor import Xor

__all__ = [
    "Add",
    "Classification",
    "Fixed",
    "Floor",
    "Length",
    "MarkedPair",
    "Multiply",
    "Paper",
    "Regression",
    "Task",
    "TemporalOrder",
    "TemporalOrder2",
    "TemporalOrder3",
    "Variable",
    "Xor",
]
