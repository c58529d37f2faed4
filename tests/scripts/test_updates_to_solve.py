"""The table of updates can be stopped at any time."""

import signal
from pathlib import Path

import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]


@pytest.mark.cli
@pytest.mark.slow
@pytest.mark.signals
def test_a_signal_ends_the_workers_and_leaves_no_file(start, tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    environment = {"TMPDIR": str(place), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}  # torch's own file
    table = start(
        "scripts.results.updates_to_solve", "--T=5000", "--jobs=1", "--seeds=2", "model=mean", cwd=ROOT, **environment
    )
    wait_for(lambda: list(place.glob("*/*/run/*")) or not table.is_running(), "a run begins")
    assert table.is_running()
    table.send(signal.SIGTERM)
    assert table.ended().status == 128 + signal.SIGTERM
    assert list(place.iterdir()) == []
