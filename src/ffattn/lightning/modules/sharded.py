"""Training with parameters that are divided over processes."""

from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import FSDPModule, fully_shard

from ffattn.inference.checkpoint import weights_of
from ffattn.lightning.modules.base import SequenceModule


class ShardedModule(SequenceModule):
    """Trains as `SequenceModule` does; every process keeps a part of each parameter, its gradient and Adam's averages.

    The whole parameters exist from the forward to the backward pass of an update (FSDP2). Checkpoints hold them whole.

    Example:
        ShardedModule(task, model, seed=0)  # the arguments are those of `SequenceModule`
    """

    def configure_model(self) -> None:
        """Divide the parameters, before the optimiser is made."""
        if not isinstance(self.network, FSDPModule):
            assert self.device_mesh is not None
            fully_shard(self.network, mesh=self.device_mesh["data_parallel"])

    def load(self, contents: dict[str, Any], path: str | Path) -> None:
        """Copy a checkpoint's weights into the network; every process takes its part."""
        whole: dict[str, Any] = {**weights_of(contents)}
        set_model_state_dict(self.network, whole, options=StateDictOptions(full_state_dict=True))
