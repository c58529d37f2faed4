"""How tests wait: for a condition, as long as it may take on a busy machine, and never for a fixed time."""

import time

import pytest

LIMIT = 300  # seconds after which something has gone wrong, on the slowest of machines


def wait_for(condition, what, limit=LIMIT):
    """Return what the condition returns as soon as that counts as true; the test fails if it never does."""
    end = time.monotonic() + limit
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"waited {limit} s in vain: {what}")
        time.sleep(0.02)
    return found
