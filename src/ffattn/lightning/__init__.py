"""Training with Lightning: data, module, callbacks. Importing this package imports Lightning, which takes seconds."""

from ffattn.lightning.data import SequenceData
from ffattn.lightning.modules.base import SequenceModule
from ffattn.lightning.modules.cuda_graph import CapturedModule
from ffattn.lightning.modules.micro_batched import PartedModule
from ffattn.lightning.modules.sequence_parallel import DividedModule
from ffattn.lightning.modules.sharded import ShardedModule

__all__ = ["CapturedModule", "DividedModule", "PartedModule", "SequenceData", "SequenceModule", "ShardedModule"]
