"""A picture of an example of every task, for docs/tasks.md.

python -m scripts.docs.task_pictures docs/pictures
"""

import argparse
from pathlib import Path

from ffattn.figures.attention import draw_example
from ffattn.tasks import Add, Fixed, Multiply, TemporalOrder2, TemporalOrder3, Xor

TASKS = Add, Multiply, Xor, TemporalOrder2, TemporalOrder3


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for kind in TASKS:
        task = kind(length=Fixed(T=50))
        draw_example(task).savefig(folder / f"task_{task.name}.png")


if __name__ == "__main__":
    main()
