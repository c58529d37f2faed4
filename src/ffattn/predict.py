"""`python -m ffattn.predict`: the answers of a trained network for the sequences of a file.

python -m ffattn.predict checkpoint=outputs/mine/checkpoints/best.ckpt input=new.csv output=answers.csv
"""

import csv
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ffattn.config.command import run_tool

if TYPE_CHECKING:
    from ffattn.config.trained_schema import Predict
    from ffattn.files import Preparation

_ROWS = 10_000  # of Parquet that are held in memory


def run(config: DictConfig) -> None:
    """Write the answers.

    What has been written lies beside the output until everything is there, and is gone on with by the same command.

    Args:
        config: The command's configuration.

    Raises:
        ConfigError: A setting is wrong.
        DataError: The input cannot be used.
    """
    from ffattn.config.convert import to_settings, trusted_packages
    from ffattn.config.trained_schema import Predict
    from ffattn.errors import DataError
    from ffattn.inference.checkpoint import load
    from ffattn.inference.on_files import columns_of, predict, preparation_of, read_inputs
    from ffattn.system.atomic_files import naming, whole

    trust = trusted_packages(config)
    settings = to_settings(config, Predict)
    settings.accelerator.check("32")
    output = Path(settings.output)
    trained = load(settings.checkpoint, trust, settings.accelerator.torch_device)
    inputs = read_inputs(Path(settings.input), trained.task, settings.id, settings.time)
    preparation, total, wrong = preparation_of(trained.task), inputs.sequences, inputs.wrong
    if wrong and settings.on_error == "stop":
        first = inputs.problems[0]
        raise DataError(f"{first} ({wrong} of {total} sequences cannot be used; on_error=skip goes on)")
    part, start = _resume(output, _identity(settings))
    rows = predict(trained, inputs.pieces, weights=settings.weights, start=start)
    with naming(output), part.open("a", newline="") as file, _progress(total, start) as advance:
        write = _writer(output.suffix, file, columns_of(preparation, settings.weights), is_new=start == 0)
        for row in rows:
            write(row)
            advance()
    if output.suffix == ".parquet":
        with whole(output) as table:
            _to_parquet(part, table, preparation, settings.weights)
        part.unlink()
    else:
        part.replace(output)
    _note(output).unlink()
    skipped = f", {wrong} sequences skipped" if wrong else ""
    print(f"{output}: {total - wrong} answers{skipped}")
    for problem in inputs.problems:
        print(f"skipped: {problem}", file=sys.stderr)


def _to_parquet(part: Path, table: Path, preparation: "Preparation", weights: bool) -> None:
    """Copy rows that were written one by one, as JSON, into a file that has to be written as a whole."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    from ffattn.inference.on_files import ID, PROBLEM, WEIGHTS, WORDS, columns_of

    text, number = pa.string(), pa.float64()
    kinds = {ID: text, PROBLEM: text, WORDS: pa.list_(text), WEIGHTS: pa.list_(number)}
    kinds |= {target.name: text if preparation.classes else number for target in preparation.targets}
    schema = pa.schema([(name, kinds.get(name, number)) for name in columns_of(preparation, weights)])
    with part.open() as lines, ParquetWriter(table, schema) as file:
        while rows := [json.loads(line) for line in islice(lines, _ROWS)]:
            file.write_table(pa.Table.from_pylist(rows, schema))


def _part(output: Path) -> Path:
    return output.with_name(f"{output.name}.part")


def _note(output: Path) -> Path:
    return output.with_name(f"{output.name}.part.json")


def _identity(settings: "Predict") -> dict[str, Any]:
    """What must be the same for a half-written file to be gone on with."""
    files = {name: os.stat(name) for name in (settings.checkpoint, settings.input)}
    about = {name: [found.st_size, found.st_mtime] for name, found in files.items()}
    return about | {name: getattr(settings, name) for name in ("id", "time", "on_error", "weights")}


def _resume(output: Path, identity: dict[str, Any]) -> tuple[Path, int]:
    """The file to go on with, and how many sequences are in it; a last row that is torn is cut off."""
    part, note = _part(output), _note(output)
    if part.exists() and note.exists() and note.read_text() == json.dumps(identity):
        is_csv = output.suffix == ".csv"
        rows, end = _whole_rows(part, is_csv)
        start = rows - 1 if is_csv and rows else rows
        os.truncate(part, end if start else 0)  # a header alone is written again
        return part, start
    part.unlink(missing_ok=True)
    note.write_text(json.dumps(identity))
    return part, 0


def _whole_rows(part: Path, is_csv: bool) -> tuple[int, int]:
    """How many rows are whole, and where the last of them ends; in CSV a row goes on where a quote is open."""
    rows, end, place, quotes = 0, 0, 0, 0
    with part.open("rb") as file:
        for line in file:
            place, quotes = place + len(line), quotes + line.count(b'"') if is_csv else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                rows, end = rows + 1, place
    return rows, end


def _writer(suffix: str, file: Any, columns: list[str], is_new: bool) -> Any:
    """What writes a row."""
    if suffix != ".csv":
        return lambda row: file.write(json.dumps({name: row[name] for name in columns}) + "\n")
    table = csv.writer(file, lineterminator="\n")
    if is_new:
        table.writerow(columns)
    return lambda row: table.writerow(["" if row[name] is None else row[name] for name in columns])


@contextmanager
def _progress(total: int, start: int) -> Iterator[Any]:
    """A bar in a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (MofNCompleteColumn(), BarColumn(bar_width=24), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task("", total=total, completed=start)
        yield lambda: bar.advance(shown)


def main() -> None:
    """The command line."""
    run_tool("predict", run)


if __name__ == "__main__":
    main()
