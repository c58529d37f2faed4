"""Lightning's private names that are in use: there is no public way, and a run does without where one is gone.

Both save time only. They are those of Lightning 2.6.
"""

from functools import cache
from typing import Any


def cache_batch_hooks(trainer: Any) -> None:
    """Let Lightning look only once for the hooks of batches.

    Otherwise it looks into four classes, three times an update.

    Args:
        trainer: Lightning's, when it has begun to fit.
    """
    selector: Any = getattr(getattr(trainer, "_data_connector", None), "_datahook_selector", None)
    if hasattr(selector, "get_instance"):
        selector.get_instance = cache(selector.get_instance)


def skip_signal_broadcast(trainer: Any) -> None:
    """Keep Lightning from telling all processes at every update whether SIGTERM has come.

    Otherwise a GPU waits for the others at every update. Runs end on a signal by `callbacks.signals`.

    Args:
        trainer: Lightning's, when it has begun to train.
    """
    loop = trainer.fit_loop.epoch_loop
    if hasattr(loop, "_broadcast_sigterm_tensor"):
        loop._broadcast_sigterm_tensor = lambda: None
