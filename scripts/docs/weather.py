"""A file to try things on: generated, weather-like weeks of ten features, and a load to be predicted of each.

python -m scripts.docs.weather weather.csv

Nothing in it has been measured. A week is seven days; its load is a constant, plus heating of the cold days and cooling
of the hot ones (which add up over the week, so that order matters little), plus what one day that is marked as an event
asks for, in proportion to its wind; and noise with a standard deviation of 4.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

FEATURES = (
    "temperature", "humidity", "wind", "pressure", "cloud", "rain", "radiation", "price", "weekend", "event",
)  # fmt: skip
DAYS = 7


def weeks(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features, (week, day, feature), and loads, (week,).

    Args:
        count: How many weeks.
        seed: Of the random numbers.
    """
    numbers = np.random.default_rng(seed)
    season = numbers.uniform(0, 2 * np.pi, (count, 1))
    temperature = 11 - 11 * np.cos(season) + numbers.normal(0, 4, (count, DAYS)).cumsum(axis=1) / 2
    cloud = numbers.beta(2, 2, (count, DAYS))
    event = np.eye(DAYS)[numbers.integers(0, DAYS, count)]
    wind = numbers.gamma(2, 3, (count, DAYS))
    columns = {
        "temperature": temperature,
        "humidity": 100 * np.clip(0.4 + 0.5 * cloud + numbers.normal(0, 0.08, cloud.shape), 0, 1),
        "wind": wind,
        "pressure": numbers.normal(1013, 8, (count, DAYS)),
        "cloud": cloud,
        "rain": np.maximum(0, numbers.normal(-3, 6, (count, DAYS)) + 6 * cloud),
        "radiation": (1 - 0.7 * cloud) * (180 - 130 * np.cos(season)),
        "price": numbers.normal(60, 12, (count, DAYS)),
        "weekend": np.tile(np.arange(DAYS) >= DAYS - 2, (count, 1)).astype(float),
        "event": event,
    }
    heating = np.maximum(0, 15 - temperature)
    cooling = np.maximum(0, temperature - 22)
    days = (heating + 1.5 * cooling) * (1 - 0.3 * columns["weekend"])
    load = 200 + 2 * days.sum(axis=1) + 8 * (event * wind).sum(axis=1) + numbers.normal(0, 4, count)
    return np.stack([columns[name] for name in FEATURES], axis=2), load


def write(path: Path, count: int = 3000, seed: int = 0) -> None:
    """Write a file in long form, one row for each day.

    Args:
        path: A CSV file.
        count: How many weeks.
        seed: Of the random numbers.
    """
    x, load = weeks(count, seed)
    lines = [",".join(("week", "day", *FEATURES, "load"))]
    for week, (days, own) in enumerate(zip(x, load, strict=True)):
        lines += [
            ",".join((str(week), str(day), *(f"{v:.4g}" for v in row), f"{own:.2f}")) for day, row in enumerate(days)
        ]
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("path", type=Path, help="the CSV file to write")
    parser.add_argument("--weeks", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    write(options.path, options.weeks, options.seed)
    print(f"{options.path}: {options.weeks} generated weeks", file=sys.stderr)


if __name__ == "__main__":
    main()
