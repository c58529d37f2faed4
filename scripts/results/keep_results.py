"""Keep the results of finished runs, without their checkpoints, in one file: what the tables in docs/results rest on.

    python -m scripts.results.keep_results outputs/paper/table1 docs/results/runs/table1.jsonl
    python -m scripts.results.keep_results docs/results/runs/*.jsonl

The first adds the runs below a directory to a file, in the place of those that it has of the same folders. The second
rewrites files: sorted, in the present format of results.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ffattn.reports.kept import SUFFIX, directory_of, read_kept, read_runs, write_kept
from ffattn.runs.cells import FinishedRun

_MACHINE = "hydra.run.dir=", "hydra.sweep.dir="  # where one machine has written a run


def keep(sources: Sequence[Path], target: Path) -> int:
    """Add runs to a file of kept results, and return how many it holds then.

    Args:
        sources: Directories of runs.
        target: The file, made if it is not there.
    """
    kept = {run.folder: run for run in read_kept(target)} if target.exists() else {}
    for source in sources:
        for run in read_runs([source]):
            folder = directory_of(target) / run.folder.relative_to(source)
            command = [word for word in run.result["command"] if not word.startswith(_MACHINE)]
            kept[folder] = FinishedRun(folder, run.result | {"command": command})
    target.parent.mkdir(parents=True, exist_ok=True)
    write_kept(target, list(kept.values()))
    return len(kept)


def main() -> None:
    """Write the files, and print how many runs each holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help=f"directories of runs, and {SUFFIX} files")
    paths = parser.parse_args().paths
    targets = [path for path in paths if path.suffix == SUFFIX]
    sources = [path for path in paths if path.suffix != SUFFIX]
    if sources and len(targets) != 1:
        parser.error(f"name one {SUFFIX} file that the runs are added to")
    for target in targets:
        print(f"{target}: {keep(sources, target)} runs")


if __name__ == "__main__":
    main()
