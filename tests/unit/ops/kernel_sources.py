"""What the GPU kernels are compiled from, a line each, as `sha256sum` prints it; the version of Triton comes first."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[3]
COMPILED = Path(__file__).with_name("compiled_kernels.txt")  # what they were when they last compiled
COMMAND = "make test-gpu-kernels"  # compiles them, and then writes that file


def state():
    """The pinned version of Triton, and the hash of each source."""
    versions = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("triton==")]
    sources = [*sorted((ROOT / "src/ffattn/ops/triton").glob("*.py")), ROOT / "src/ffattn/rng/triton.py"]
    return [*versions, *(f"{_hash(path)}  {path.relative_to(ROOT).as_posix()}" for path in sources)]


def _hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    COMPILED.write_text("\n".join(state()) + "\n")
