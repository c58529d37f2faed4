"""`python -m ffattn.report`: the results of many runs as one table: Markdown, CSV, and a web page with pictures.

python -m ffattn.report outputs/paper/table1
python -m ffattn.report docs/results/runs/table1 --output docs/results/table1

Directories hold `result.json` files at any depth. Of runs that differ in the learning rate alone the best counts: the
one that solved its task with the fewest updates, or else has the highest accuracy. Numbers over seeds are medians, with
the smallest and the largest.
"""

import argparse
import csv
import importlib.util
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ffattn.config.command import short_errors
from ffattn.errors import FFAttnError
from ffattn.figures.html import grid, page, picture
from ffattn.reports.table import COLUMNS, Cell, cells_of, markdown, read_runs, table_rows
from ffattn.system.atomic_files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(cells: Sequence[Cell], output: Path, title: str) -> list[Path]:
    """Write the table, the runs, the page and, where matplotlib is installed, the pictures.

    Args:
        cells: The table's rows.
        output: Path of the files, without suffix.
        title: The table's heading.

    Returns:
        The files.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    figures = _figures(cells)
    text, rows, site = (output.with_name(f"{output.name}{suffix}") for suffix in (".md", ".csv", ".html"))
    pictures = {name: output.with_name(f"{output.name}_{name}.png") for name in figures}
    shown = "".join(f"\n![{figures[name][1]}]({path.name})\n" for name, path in pictures.items())
    with whole(text) as part:
        part.write_text(f"# {title}\n\n{markdown(cells)}{shown}")
    with whole(rows) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table_rows(cells))
    for name, path in pictures.items():
        with whole(path) as part:
            figures[name][0].savefig(part)
    parts = [picture(figure, caption) for figure, caption in figures.values()]
    with whole(site) as part:
        part.write_text(page(title, [grid(_page_rows(cells), codes={"command"}), *parts]))
    return [text, rows, site, *pictures.values()]


def _figures(cells: Sequence[Cell]) -> dict[str, tuple["Figure", str]]:
    if importlib.util.find_spec("matplotlib") is None:
        print("no pictures: matplotlib is not installed; pip install 'ffattn[pictures]'", file=sys.stderr)
        return {}
    from ffattn.reports.charts import draw_all

    return draw_all(cells)


def _page_rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """The table's rows without columns that are empty throughout, each with its command."""
    rows = [cell.row() | {"command": cell.command()} for cell in cells]
    return [{name: row[name] for name in row if any(other[name] for other in rows)} for row in rows]


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directories", nargs="+", type=Path, help="where the runs are")
    parser.add_argument("--output", type=Path, help="path of the files, without suffix; DIRECTORY/report if not given")
    parser.add_argument("--title", default="Results", help="heading of the table")
    given = parser.parse_args()
    with short_errors():
        cells = cells_of(read_runs(given.directories))
        if not cells:
            raise FFAttnError(f"{', '.join(map(str, given.directories))}: no result of a training run is below")
        files = write(cells, given.output or given.directories[0] / "report", given.title)
    print(markdown(cells))
    print("\n".join(map(str, files)))


if __name__ == "__main__":
    main()
