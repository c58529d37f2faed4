"""Change the operators and the settings in small ways, and list the changes that no test notices.

    make mutants                           # an hour, on two cores
    make mutants ARGS="--minutes 10 --only src/ffattn/settings.py --save docs/mutants.md"

Cosmic Ray makes the changes: another operator, another number, a condition negated, a decorator left out. Each is tried in
a copy of the checkout by the tests that belong to its module; a test that fails, or that does not end, has noticed it. There
are more changes than an hour has time for, so they are drawn at random, those of each module in turn.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
OPERATORS, SETTINGS = "tests/unit/ops/", "tests/config tests/unit/test_settings.py"
TESTS = {  # of each module, the quickest to fail first
    "src/ffattn/ops/operators.py": OPERATORS,
    "src/ffattn/ops/reference.py": OPERATORS,
    "src/ffattn/ops/cpu.py": OPERATORS,
    "src/ffattn/settings.py": SETTINGS,
    "src/ffattn/config/command.py": SETTINGS,
    "src/ffattn/config/compose.py": SETTINGS,
    "src/ffattn/config/convert.py": SETTINGS,
    "src/ffattn/config/explain.py": SETTINGS,
    "src/ffattn/config/jobs.py": SETTINGS,
    "src/ffattn/config/schema.py": SETTINGS,
    "src/ffattn/config/sweeps.py": SETTINGS,
}
