"""What pictures have in common. Colours are those of Okabe and Ito, which colour-blind people can tell apart."""

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
GREY = "#7F7F7F"
RED = "#D55E00"


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis with numbers instead of powers of ten, few enough to be read, but more than one.

    Args:
        axis: After its data have been drawn.
    """
    low, high = sorted(axis.get_view_interval())
    between = LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
    axis.set_major_locator(between if high > 5 * low else MaxNLocator(5))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def new_figure(title: str, width: float = 9, height: float = 4.5) -> Figure:
    """Return an empty figure.

    Args:
        title: Above it.
        width: In inches.
        height: Likewise.
    """
    figure = Figure(figsize=(width, height), layout="constrained", dpi=100)
    figure.suptitle(title, fontsize=10, wrap=True, parse_math=False)
    return figure


def in_digits(value: float, scale: float) -> str:
    """Return a number with three digits of a standard deviation, or with three decimals where that is 1.

    Args:
        value: The number.
        scale: The standard deviation.
    """
    if scale == 1 and abs(value) < 1000:
        return f"{value:.3f}"
    before = np.log10(abs(value) / scale) if value else 0
    return f"{value:.{int(np.clip(3 + np.ceil(before), 3, 17))}g}"


def shortened(name: str, most: int = 20) -> str:
    """Return a name, without its middle if it is long.

    Args:
        name: Of a class or a column.
        most: Characters.
    """
    return name if len(name) <= most else f"{name[: most // 2]}…{name[1 - most // 2 :]}"
