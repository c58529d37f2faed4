"""`python -m ffattn.report`: the results of many runs as one table, in Markdown and as CSV, and one picture.

python -m ffattn.report outputs/paper/table1
python -m ffattn.report docs/results/runs/table1 --output docs/results/table1

Directories hold `result.json` files at any depth. Of runs that differ in the learning rate alone the best counts: the
one that solved its task with the fewest updates, or else had the most solved. Numbers over seeds are medians, with the
smallest and the largest.
"""

import argparse
import csv
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from ffattn.cells import COLUMNS, Cell, cells_of, markdown, read_runs, table_rows
from ffattn.errors import FFAttnError


def write(cells: Sequence[Cell], output: Path, title: str) -> list[Path]:
    """Write the table, the runs and, where matplotlib is installed, the picture.

    Args:
        cells: The table's rows.
        output: Path of the files, without suffix.
        title: The table's heading.

    Returns:
        The files.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    text, rows, picture = (output.with_name(f"{output.name}{suffix}") for suffix in (".md", ".csv", ".png"))
    has_picture = importlib.util.find_spec("matplotlib") is not None
    shown = f"\n![Epochs and accuracy against T]({picture.name})\n" if has_picture else ""
    text.write_text(f"# {title}\n\n{markdown(cells)}{shown}")
    with rows.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table_rows(cells))
    if not has_picture:
        print("no picture: matplotlib is not installed; pip install 'ffattn[pictures]'", file=sys.stderr)
        return [text, rows]
    from ffattn.charts import draw

    draw(cells).savefig(picture)
    return [text, rows, picture]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, help="where the runs are")
    parser.add_argument("--output", type=Path, help="path of the files, without suffix; DIRECTORY/report if not given")
    parser.add_argument("--title", default="Results", help="heading of the table")
    given = parser.parse_args()
    try:
        cells = cells_of(read_runs(given.directories))
    except FFAttnError as error:
        sys.exit(str(error))
    if not cells:
        sys.exit(f"{', '.join(map(str, given.directories))}: no result of a training run is below")
    files = write(cells, given.output or given.directories[0] / "report", given.title)
    print(markdown(cells))
    print("\n".join(map(str, files)))


if __name__ == "__main__":
    main()
