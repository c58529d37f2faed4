"""Real data sets: this package's models beside what one would pick instead. The table in docs/results/real_data.md.

python -m scripts.results.real_data docs/results/real_data --seeds 5

Each row is the mean and the standard deviation over seeds: of weights, of the order of training, and of which part of
the training set is for validation. The test set is the archive's own, or, where there is none, another part of the
sequences for each seed; it is read once, with the weights of the smallest validation error. Peers see the whole
training set, validation included, and have their own defaults.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.classification.distance_based import KNeighborsTimeSeriesClassifier
from sktime.regression.distance_based import KNeighborsTimeSeriesRegressor
from sktime.transformations.panel.rocket import MiniRocketMultivariate

import ffattn
from ffattn.rng.streams import Split
from ffattn.system.provenance import commit, device_name, versions
from ffattn.tasks import AMPvsUniProt, BasicMotions, File, JapaneseVowels, Plaid, Tecator, Watch

DATA: dict[str, type[File]] = {
    "japanese_vowels": JapaneseVowels,
    "basic_motions": BasicMotions,
    "plaid": Plaid,
    "tecator": Tecator,
    "watch": Watch,
    "amp_vs_uniprot": AMPvsUniProt,
}
MODELS = {
    "ffattn": "model=ffattn",
    "ffattn, fraction": "model=ffattn model.position=fraction",
    "mean": "model=mean",
    "lstm_attention": "model=lstm_attention",
    "lstm": "model=lstm",
}
_TIME_WARPING = "1-NN with time warping"
_LEFT_OUT = {("amp_vs_uniprot", _TIME_WARPING)}  # letters are no curve, and 3 million pairs take an hour
_COURSE = "batch_size=32 updates=5000 trainer.validate_every=25 accelerator=cpu logger=none trainer.progress=none"
Sequences = list[np.ndarray]  # (step, feature) each


def trained(name: str, overrides: str, seed: int) -> tuple[float, float]:
    """Score on the test set and seconds of training of one run."""
    with tempfile.TemporaryDirectory() as folder:
        run = ffattn.fit(
            *f"task={name} {overrides} seed={seed} task.split_seed={seed} {_COURSE}".split(),
            folder=Path(folder) / "run",
            quiet=True,
        )
        test = run.result["test"]
        return test.get("rmse", test["accuracy"]), run.result["seconds"]


def summaries(sequences: Sequences) -> np.ndarray:
    """A sequence without its time: of each feature mean, deviation, extremes, ends and mean step; and the length."""
    rows = []
    for x in sequences:
        steps = np.abs(np.diff(x, axis=0)).mean(axis=0) if len(x) > 1 else np.zeros(x.shape[1])
        parts = x.mean(axis=0), x.std(axis=0), x.min(axis=0), x.max(axis=0), x[0], x[-1], steps, [len(x)]
        rows.append(np.concatenate(parts))
    return np.stack(rows)


def stretched(sequences: Sequences) -> np.ndarray:
    """All sequences at the length of the longest, by linear interpolation: (sequence, feature, step)."""
    longest = max(map(len, sequences))
    places = np.linspace(0, 1, longest)
    return np.stack(
        [
            np.stack([np.interp(places, np.linspace(0, 1, len(x)), x[:, f]) for f in range(x.shape[1])])
            for x in sequences
        ]
    )


def forest(train: Sequences, y: np.ndarray, test: Sequences, seed: int) -> np.ndarray:
    """A random forest on summaries."""
    kind = RandomForestClassifier if y.dtype.kind == "i" else RandomForestRegressor
    return kind(500, random_state=seed).fit(summaries(train), y).predict(summaries(test))


def rocket(train: Sequences, y: np.ndarray, test: Sequences, seed: int) -> np.ndarray:
    """MiniRocket and a ridge, on stretched sequences."""
    both = stretched([*train, *test])
    transform = MiniRocketMultivariate(random_state=seed).fit(both[: len(train)])
    first, second = (np.asarray(transform.transform(part)) for part in (both[: len(train)], both[len(train) :]))
    rates = np.logspace(-3, 3, 10)
    ridge = RidgeClassifierCV(rates) if y.dtype.kind == "i" else RidgeCV(rates)
    return make_pipeline(StandardScaler(with_mean=False), ridge).fit(first, y).predict(second)


def warping(train: Sequences, y: np.ndarray, test: Sequences, seed: int) -> np.ndarray:
    """The nearest sequence by dynamic time warping within a tenth of the length, on stretched and scaled sequences."""
    del seed  # nothing is random
    both = stretched([*train, *test])
    mean, deviation = (getattr(both[: len(train)], name)(axis=(0, 2), keepdims=True) for name in ("mean", "std"))
    scaled = (both - mean) / deviation
    kind = KNeighborsTimeSeriesClassifier if y.dtype.kind == "i" else KNeighborsTimeSeriesRegressor
    nearest = kind(n_neighbors=1, distance="dtw", distance_params={"window": 0.1}).fit(scaled[: len(train)], y)
    return np.asarray(nearest.predict(scaled[len(train) :]))


PEERS: dict[str, Callable[[Sequences, np.ndarray, Sequences, int], np.ndarray]] = {
    "random forest on summaries": forest,
    "MiniRocket + ridge": rocket,
    _TIME_WARPING: warping,
}


def sequences_of(task: File) -> tuple[Sequences, np.ndarray, Sequences, np.ndarray]:
    """Training, with validation, and test; letters and categories as a feature for each of them, 0 or 1."""
    parts = [task.given(split) for split in (Split.TRAIN, Split.VAL, Split.TEST)]
    lists = [
        [_one_hot(x.numpy(), task.categories) for x in part.x.split((part.offsets[1:] - part.offsets[:-1]).tolist())]
        for part in parts
    ]
    train, val, test = (part.y.flatten().numpy() for part in parts)
    return lists[0] + lists[1], np.concatenate((train, val)), lists[2], test


def _one_hot(x: np.ndarray, categories: tuple[int, ...]) -> np.ndarray:
    first = x.shape[1] - len(categories)
    places = (np.arange(count) == x[:, first + i, None] for i, count in enumerate(categories))
    return np.concatenate((x[:, :first], *places), axis=1).astype(np.float64)


def peer(name: str, kind: str, seed: int) -> tuple[float, float]:
    """Score on the test set and seconds of training of a peer."""
    task = DATA[name](split_seed=seed)
    train, y, test, expected = sequences_of(task)
    started = time.monotonic()
    found = PEERS[kind](train, y, test, seed)
    seconds = time.monotonic() - started
    if task.is_classification:
        return float((found == expected).mean()), seconds
    return float(np.sqrt(np.square(found - expected).mean())) * float(task.target_scaling().scale[0]), seconds


def row(name: str, kind: str, seeds: int) -> dict[str, Any]:
    """One line of the table."""
    run = (lambda seed: trained(name, MODELS[kind], seed)) if kind in MODELS else (lambda seed: peer(name, kind, seed))
    is_fixed = kind == _TIME_WARPING and DATA[name]().test_path is not None  # neither it nor the test is random
    runs = 1 if is_fixed else seeds
    scores, seconds = zip(*(run(seed) for seed in range(runs)), strict=True)
    sd = statistics.stdev(scores) if runs > 1 else None
    found = {"data": name, "model": kind, "mean": statistics.fmean(scores), "sd": sd}
    print(name, kind, scores, flush=True)
    return found | {"seconds": statistics.median(seconds)}


def table(rows: list[dict[str, Any]], seeds: int) -> str:
    """Markdown."""
    lines = ["| data | model | test | seconds of training |", "|---|---|---|---|"]
    for found in rows:
        mean = found["mean"]
        sd = found["sd"]
        is_number = found["data"] == "tecator"
        form = "{:.2f}" if is_number else "{:.1%}"
        score = ("RMSE " if is_number else "") + " +- ".join(form.format(n) for n in (mean, sd) if n is not None)
        lines.append(f"| `{found['data']}` | {found['model']} | {score} | {found['seconds']:.1f} |")
    about = f"{seeds} seeds; {device_name(torch.device('cpu'))}; commit {commit()}; torch {versions()['torch']}."
    return "\n".join([*lines, "", about])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("output", type=Path, help="the table's path, without suffix")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--models", nargs="+", choices=[*MODELS, *PEERS], default=[*MODELS, *PEERS])
    options = parser.parse_args()
    pairs = [(name, kind) for name in options.data for kind in options.models if (name, kind) not in _LEFT_OUT]
    rows = [row(name, kind, options.seeds) for name, kind in pairs]
    text = table(rows, options.seeds)
    options.output.with_suffix(".md").write_text(f"# Real data\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
