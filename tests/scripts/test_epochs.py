"""The table of updates can be stopped at any time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.cli
@pytest.mark.slow
def test_a_signal_ends_the_workers_and_leaves_no_file(tmp_path):
    command = [sys.executable, "-m", "scripts.epochs", "--T=5000", "--jobs=1", "--seeds=2", "model=mean"]
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {**os.environ, "TMPDIR": str(place), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}  # torch's own file
    table = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while len(list(place.glob("*/*/run/*"))) < 1 and time.monotonic() < end:
        time.sleep(0.1)
    assert table.poll() is None
    table.send_signal(signal.SIGTERM)
    table.communicate(timeout=30)  # until nobody holds the other ends of its pipes
    assert table.returncode == 128 + signal.SIGTERM
    assert list(place.iterdir()) == []
