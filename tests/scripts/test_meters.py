"""The benchmarks' clock."""

import time

import torch

from scripts.benchmarks.meters import now


def test_the_clock_reads_the_time_after_the_device_is_done(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.get_device_module(), "synchronize", lambda: calls.append(time.perf_counter()))
    before = time.perf_counter()
    read = now()
    assert before <= calls[0] <= read <= time.perf_counter()
