"""Keep the results of finished runs, without their checkpoints, in one file: what the tables in docs/results rest on.

    python -m scripts.results.keep_results outputs/paper/table1 docs/results/runs/table1.jsonl
    python -m scripts.results.keep_results docs/results/runs/*.jsonl

The first adds the runs below a directory to a file, in the place of those of the same folders. The second rewrites
files alone: sorted, in the present format of results.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ffattn.reports.kept import SUFFIX, read_kept, read_runs, write_kept
from ffattn.reports.table import Run

_PLACES = "hydra.run.dir=", "hydra.sweep.dir="  # where one machine has written it


def keep(sources: Sequence[Path], target: Path) -> int:
    """Add runs to a file of kept results, but for the names of directories in their commands.

    Args:
        sources: Directories that hold run directories at any depth.
        target: The file, made if it is not there.

    Returns:
        How many runs it holds then.
    """
    kept = {run.folder: run for run in read_kept(target)} if target.exists() else {}
    for source in sources:
        for run in read_runs([source]):
            folder = target.with_suffix("") / run.folder.relative_to(source)
            kept[folder] = Run(folder, run.result | {"command": _without_places(run)})
    target.parent.mkdir(parents=True, exist_ok=True)
    write_kept(target, list(kept.values()))
    return len(kept)


def _without_places(run: Run) -> list[str]:
    return [word for word in run.result["command"] if not word.startswith(_PLACES)]


def main() -> None:
    """Write the files, and print how many runs each holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help=f"directories of runs, and files that end in {SUFFIX}")
    given = parser.parse_args().paths
    sources = [path for path in given if path.suffix != SUFFIX]
    for target in (path for path in given if path.suffix == SUFFIX):
        print(f"{keep(sources, target)} results are in {target}")


if __name__ == "__main__":
    main()
