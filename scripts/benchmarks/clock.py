"""The clock of the benchmarks."""

import time

import torch


def now() -> float:
    """Seconds of a clock, once the GPU has done all that it was given, where there is one."""
    torch.get_device_module().synchronize()
    return time.perf_counter()
