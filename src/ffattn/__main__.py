"""`python -m ffattn`: list the commands; `python -m ffattn NAME ...` runs one, as `python -m ffattn.NAME` does."""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

COMMANDS = ("train", "evaluate", "predict", "export", "inspect", "report", "plan", "stream")


def source_of(command: str) -> Path:
    """Return the file of a command, which is not imported: that takes seconds.

    Args:
        command: One of `COMMANDS`.
    """
    spec = find_spec(f"ffattn.{command}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def description_of(command: str) -> str:
    """Return what a command does: the first line of its own description, behind its name.

    Args:
        command: One of `COMMANDS`.
    """
    description = ast.get_docstring(ast.parse(source_of(command).read_text(encoding="utf-8"))) or ""
    return description.partition("\n")[0].partition(": ")[2]


def listing() -> str:
    """Return the commands, each with a line."""
    width = max(map(len, COMMANDS))
    lines = [f"  {command:{width}}  {description_of(command)}" for command in COMMANDS]
    usage = "Usage: python -m ffattn COMMAND ..."
    return "\n".join([usage, "", *lines, "", "`python -m ffattn COMMAND --help` lists what a command takes."])


def main() -> None:
    """The command line."""
    command, *words = sys.argv[1:] or ["--help"]
    if command in {"--help", "-h"}:
        print(listing())
        return
    if command not in COMMANDS:
        from ffattn.config.errors import nearest

        sys.exit(f"{command}: no such command{nearest(command, COMMANDS)} (ffattn has {', '.join(COMMANDS)})")
    sys.argv = [str(source_of(command)), *words]
    import_module(f"ffattn.{command}").main()


if __name__ == "__main__":
    main()
