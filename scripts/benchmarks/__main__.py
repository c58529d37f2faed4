"""How fast is the fused attention, and what does the rest of a training step cost?

    python -m scripts.benchmarks                    # all tables on the screen
    python -m scripts.benchmarks --save docs/benchmarks/cpu.md
    python -m scripts.benchmarks --only step

Every table compares alternatives that take turns in one process, and quotes medians. Peak memory is that of a process
of its own, beyond its inputs.
"""

import argparse
import os
import platform
from collections.abc import Iterator
from pathlib import Path

# OpenMP's threads would go on spinning after one alternative has ended, and take the cores from the next.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from llvmlite.binding import get_host_cpu_name

from ffattn.system.provenance import commit, device_name
from scripts.benchmarks import operators, steps

TABLES = {
    "operator": operators.operator_table,
    "scaling": operators.scaling_table,
    "step": steps.step_table,
    "recurrent": steps.recurrent_table,
    "gpu": steps.gpu_table,
}


def header(device: str) -> Iterator[str]:
    """Yield the machine and the code.

    Args:
        device: That the tables are of.
    """
    yield f"# Benchmarks: {device_name(torch.device(device))}\n"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    if device == "cpu":
        versions += f", {get_host_cpu_name()}"
    yield f"Made by `python -m scripts.benchmarks` at commit {commit()}: {versions}."
    yield "Alternatives take turns in one process, with OMP_WAIT_POLICY=passive; times are medians.\n"


def _arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m scripts.benchmarks", description=__doc__, formatter_class=raw)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", choices=TABLES, action="append", help="one table; may be repeated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--save", type=Path, help="a Markdown file to write")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)  # what the operators' table starts
    return parser.parse_args()


def main() -> None:
    """Print the tables, and save them if asked to."""
    arguments = _arguments()
    if arguments.memory:
        operators.print_peak(arguments.memory[0], int(arguments.memory[1]))
        return
    torch.set_num_threads(arguments.threads)
    lines = []
    for table in [header, *(TABLES[name] for name in arguments.only or TABLES)]:
        for line in table(arguments.device):
            print(line, flush=True)
            lines.append(line)
    if arguments.save:
        arguments.save.parent.mkdir(parents=True, exist_ok=True)
        arguments.save.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
