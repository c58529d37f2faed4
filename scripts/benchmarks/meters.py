"""What the benchmarks read: a clock, and the memory of a process."""

import time
from pathlib import Path

import torch


def now() -> float:
    """Return the seconds of a clock, once the GPU has done all that it was given, where there is one."""
    torch.get_device_module().synchronize()
    return time.perf_counter()


def status_kb(field: str) -> int:
    """Return a field of this process's status, in kB (Linux).

    Args:
        field: `VmRSS` is the memory that it holds, `VmHWM` the peak since `reset_peak`.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def reset_peak() -> None:
    """Let the peak of this process's memory start anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")
