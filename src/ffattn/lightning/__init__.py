"""Training with Lightning: data, module, callbacks. Importing this package imports Lightning, which takes seconds."""

from ffattn.lightning.data import SequenceData
from ffattn.lightning.graph import CapturedModule
from ffattn.lightning.module import SequenceModule
from ffattn.lightning.parted import PartedModule
from ffattn.lightning.sequence import DividedModule
from ffattn.lightning.sharded import ShardedModule

__all__ = ["CapturedModule", "DividedModule", "PartedModule", "SequenceData", "SequenceModule", "ShardedModule"]
