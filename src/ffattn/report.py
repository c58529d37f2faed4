"""`python -m ffattn.report`: the results of many runs as one table: Markdown, CSV, and a web page with pictures.

python -m ffattn.report outputs/paper/table1
python -m ffattn.report docs/results/runs/table1.jsonl --output docs/results/table1

It reads run directories at any depth, and files of kept results. Of each seed the best learning rate counts: the one
with the fewest updates to solve the task, or else with the best validation. Numbers over seeds are medians, with the
smallest and the largest: of test accuracy over all seeds, of updates to solve the task over the n that solved it.
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
from ffattn.figures.html import page, picture, table
from ffattn.reports.kept import SUFFIX, directory_of, read_runs
from ffattn.reports.table import RUN_COLUMNS, cell_rows, command_of, markdown, run_rows
from ffattn.runs.cells import Cell, cells_of
from ffattn.system.atomic_files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(cells: Sequence[Cell], output: Path, title: str) -> list[Path]:
    """Write the table, the runs, the page and, where matplotlib is installed, the pictures; return the files.

    Args:
        cells: The table's rows.
        output: Path of the files, without suffix.
        title: The table's heading.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    figures = _figures(cells)
    text, rows, site = (output.with_name(f"{output.name}{suffix}") for suffix in (".md", ".csv", ".html"))
    pictures = {name: output.with_name(f"{output.name}_{name}.png") for name in figures}
    shown = "".join(f"\n![{figures[name][1]}]({path.name})\n" for name, path in pictures.items())
    with atomic_write(text) as part:
        part.write_text(f"# {title}\n\n{markdown(cells)}{shown}")
    with atomic_write(rows) as part, part.open("w", newline="") as file:
        writer = csv.DictWriter(file, RUN_COLUMNS)
        writer.writeheader()
        writer.writerows(run_rows(cells))
    for name, path in pictures.items():
        with atomic_write(path) as part:
            figures[name][0].savefig(part)
    parts = [picture(figure, caption) for figure, caption in figures.values()]
    with atomic_write(site) as part:
        part.write_text(page(title, [table(_page_rows(cells), codes={"command"}), *parts]))
    return [text, rows, site, *pictures.values()]


def _figures(cells: Sequence[Cell]) -> dict[str, tuple["Figure", str]]:
    if importlib.util.find_spec("matplotlib") is None:
        print("no pictures: matplotlib is not installed; pip install 'ffattn[pictures]'", file=sys.stderr)
        return {}
    from ffattn.reports.charts import draw_all

    return draw_all(cells)


def _page_rows(cells: Sequence[Cell]) -> list[dict[str, str]]:
    """Return the table's rows, each with its command if any has one."""
    commands = [command_of(cell) for cell in cells]
    if not any(commands):
        return cell_rows(cells)
    return [row | {"command": command} for row, command in zip(cell_rows(cells), commands, strict=True)]


def main() -> None:
    """The command line."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help=f"directories of runs, or {SUFFIX} files of kept results")
    parser.add_argument("--output", type=Path, help="path of the files, without suffix; PATH/report if not given")
    parser.add_argument("--title", default="Results", help="heading of the table")
    given = parser.parse_args()
    with short_errors():
        cells = cells_of(read_runs(given.paths))
        if not cells:
            raise FFAttnError(f"{', '.join(map(str, given.paths))}: no result of a training run is below")
        files = write(cells, given.output or directory_of(given.paths[0]) / "report", given.title)
    print(markdown(cells))
    print("\n".join(map(str, files)))


if __name__ == "__main__":
    main()
