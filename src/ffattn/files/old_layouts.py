"""What checkpoints that do not keep a layout say of it."""

import re
from dataclasses import replace

from ffattn.files.layouts import WIDE, Layout
from ffattn.files.step_names import VALUE

_STEP = re.compile(r"(.*?)[_.]?(\d+)")


def layout_of_columns(said: Layout, features: set[str], columns: tuple[str, ...]) -> Layout:
    """Return the layout that a run had which kept the names of columns and features alone.

    Args:
        said: What the settings say.
        features: What the inputs are called.
        columns: The columns that they were read from.
    """
    if said.ids or features == set(columns):
        return replace(said, features=columns)  # types of the columns tell the form
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in columns:
        if found := _STEP.fullmatch(name):
            groups.setdefault(found[1] or VALUE, []).append((int(found[2]), name))
    if set(groups) == features and sum(map(len, groups.values())) == len(columns):
        steps = tuple((feature, tuple(name for _, name in sorted(some))) for feature, some in groups.items())
    else:
        steps = ((VALUE, columns),)
    return replace(said, form=WIDE, features=columns, steps=steps, is_understood=True)
