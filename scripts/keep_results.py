"""Keep what finished runs have found, without their checkpoints: the files that the tables in docs/results rest on.

python -m scripts.keep_results outputs/paper/table1 docs/results/runs/table1
"""

import argparse
from pathlib import Path

from ffattn.runs.result import RESULT, read_result, write_result

_PLACES = "hydra.run.dir=", "hydra.sweep.dir="  # where one machine has written it


def keep(source: Path, target: Path) -> int:
    """Copy every `result.json` below a directory, but for the names of directories in its command.

    Args:
        source: Holds run directories, at any depth.
        target: Gets the files, in directories of the same names.

    Returns:
        How many there are.
    """
    found = sorted(source.rglob(RESULT))
    for path in found:
        result = read_result(path.parent)
        assert result is not None
        result["command"] = [word for word in result["command"] if not word.startswith(_PLACES)]
        folder = target / path.parent.relative_to(source)
        folder.mkdir(parents=True, exist_ok=True)
        write_result(folder, result)
    return len(found)


def main() -> None:
    """Copy, and say how many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    print(f"{keep(given.source, given.target)} results are in {given.target}")


if __name__ == "__main__":
    main()
