"""How far models carry that were trained on at most 1,000 steps: the table and the picture of docs/results/length.md.

python -m scripts.results.length_record outputs/length_record --output docs/results/length

Trains what has not been trained (`experiment=length_record`, in several recipes), evaluates every model on lengths up
to a million, and one for each task on up to a billion. What has been evaluated before is not evaluated again.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ffattn.inference.checkpoint_files import BEST, checkpoints_of
from ffattn.inference.evaluation import evaluate
from ffattn.inference.metric_names import percent, rename_metrics
from ffattn.inference.trained import TrainedModel, load
from ffattn.models import FeedForwardNetwork
from ffattn.rng.streams import Split, Stream
from ffattn.runs.cells import spread_of
from ffattn.runs.result import RESULT, read_result
from ffattn.system.provenance import provenance
from ffattn.tasks import Fixed
from ffattn.tasks.marked import MarkedPair

SHIFTED = "shifted"
HALF = "updates=10000"
SOFTMAX = HALF, "model.normalizer=softmax", "model.score_jitter=0", "seed=0,1,2"
RECIPES = {  # folder: what it is called, and what experiment=length_record is changed by
    SHIFTED: ("relu2, scores shifted in training", ()),
    "half": ("relu2, shifted, half as many updates", (HALF,)),
    "relu2": ("relu2", (HALF, "model.score_jitter=0", "seed=0,1,2")),
    "log_length": ("softmax of linear scores times log length", (*SOFTMAX, "model.length_scale=true")),
    "paper": ("softmax of tanh scores, the paper's", (*SOFTMAX, "model.score=tanh")),
}
COLOURS = "#0072B2", "#009E73", "#56B4E9", "#E69F00", "#7F7F7F"
NEAR = dict.fromkeys((100, 1_000, 10_000, 100_000, 1_000_000), 1000)
FAR = {10_000_000: 1000, 100_000_000: 100, 1_000_000_000: 30}  # ten minutes a task on two cores, about


def train(folder: Path, recipe: str) -> Path:
    """Train what has not been trained; returns where."""
    where = folder / recipe
    words = "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "trainer.progress=none", "logger=none"
    command = sys.executable, "-m", "ffattn.train", "experiment=length_record", f"hydra.sweep.dir={where}"
    subprocess.run([*command, *words, *RECIPES[recipe][1]], check=True)
    return where


@torch.inference_mode()
def unmarked_score(trained: TrainedModel) -> float:
    """The largest score of a step without a marker: every value that there is, is tried.

    Below zero, it says that such steps never have weight. How many there are, does then not matter: the context is
    made of the two marked steps, and perhaps the first and the last, at any length.
    """
    network = trained.network
    task = trained.task
    assert isinstance(network, FeedForwardNetwork)
    assert isinstance(task, MarkedPair)
    low, high, levels = task.values
    values = low + (high - low) * torch.arange(levels) / levels
    x = torch.stack((values, torch.zeros(levels)), dim=1)[None]
    _, scores = network.attention.reduce(x, torch.tensor([levels]), None, None)
    return float(scores.max())


def measure(trained: TrainedModel, T: int, sequences: int) -> dict[str, Any]:
    """What a model reaches at a length."""
    started = time.monotonic()
    task = replace(trained.task, length=Fixed(T=T))
    scores = evaluate(trained.network, task, Stream(trained.seed, Split.TEST), sequences)
    return {"T": T, "sequences": sequences, **scores, "seconds": time.monotonic() - started}


def rows_of(run: Path, recipe: str, far: bool) -> list[dict[str, Any]]:
    """All lengths of one model, from its file or measured now."""
    kept = run / "lengths.json"
    result = read_result(run)
    assert result is not None
    trained = load(checkpoints_of(run) / BEST)
    about = {"task": result["task"], "recipe": recipe, "seed": result["seed"], "train_seconds": result["seconds"]}
    rows: list[dict[str, Any]] = list(map(rename_metrics, json.loads(kept.read_text()))) if kept.exists() else []
    for T, sequences in (NEAR | FAR if far else NEAR).items():
        if T not in {row["T"] for row in rows}:
            found = measure(trained, T, sequences) | {"unmarked_score": unmarked_score(trained)}
            origin = {name: provenance(torch.device("cpu"))[name] for name in ("device", "commit")}
            rows.append(about | found | origin)
            kept.write_text(json.dumps(rows, indent=1))
            print(f"{run}: T={T:,}: {percent(found['accuracy'])} of {sequences}, {found['seconds']:.0f} s", flush=True)
    return rows


def everything(folder: Path) -> Iterator[dict[str, Any]]:
    """All rows of all recipes."""
    for recipe, (title, _) in RECIPES.items():
        runs = sorted(path.parent for path in train(folder, recipe).rglob(RESULT))
        for run in runs:
            yield from rows_of(run, title, far=recipe == SHIFTED and run.name == "seed0")


def markdown(rows: list[dict[str, Any]]) -> str:
    """A row for each task and recipe: the smallest accuracy of all seeds at each length."""
    lengths = sorted({row["T"] for row in rows})
    head = ["task", "weights", "seeds", *(f"{T:,}" for T in lengths), "largest unmarked score"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 3}{'---:|' * (len(head) - 3)}"]
    for task, recipe in dict.fromkeys((row["task"], row["recipe"]) for row in sorted(rows, key=lambda r: r["task"])):
        group = [row for row in rows if (row["task"], row["recipe"]) == (task, recipe)]
        seeds = {row["seed"] for row in group}
        cells = [_smallest([row for row in group if row["T"] == T], len(seeds)) for T in lengths]
        largest = f"{max(row['unmarked_score'] for row in group):.2f}" if recipe.startswith("relu2") else ""
        lines.append(f"| {' | '.join([task, recipe, str(len(seeds)), *cells, largest])} |")
    return "\n".join(lines) + "\n"


def _smallest(group: list[dict[str, Any]], seeds: int) -> str:
    if not group:
        return ""
    few = f" ({len(group)} seed)" if len(group) < seeds else ""
    return f"{percent(min(row['accuracy'] for row in group))}{few}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Accuracy against T, a panel for each task: medians and ranges over the seeds; dotted: one seed."""
    colours = dict(zip((title for title, _ in RECIPES.values()), COLOURS, strict=True))
    tasks = sorted({row["task"] for row in rows})
    figure = Figure(figsize=(5 * len(tasks), 4), layout="constrained", dpi=100)
    for axes, task in zip(figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0], tasks, strict=True):
        axes.axvspan(12, 1000, color="#000000", alpha=0.06, label="lengths in training")
        for recipe, colour in colours.items():
            _draw_recipe(axes, [row for row in rows if (row["task"], row["recipe"]) == (task, recipe)], recipe, colour)
        axes.set(title=task, xscale="log", xlabel="T, steps", ylabel="accuracy", xlim=(12, None), ylim=(0, 1.03))
    axes.legend(fontsize=8, loc="lower left")
    figure.savefig(path)


def _draw_recipe(axes: Axes, group: list[dict[str, Any]], recipe: str, colour: str) -> None:
    near = sorted({row["T"] for row in group} & set(NEAR))
    spreads = [spread_of([row["accuracy"] for row in group if row["T"] == T]) for T in near]
    axes.plot(near, [spread.median for spread in spreads], "o-", color=colour, label=recipe)
    low = [spread.low for spread in spreads]
    high = [spread.high for spread in spreads]
    axes.fill_between(near, low, high, color=colour, alpha=0.2)
    far = sorted((row["T"], row["accuracy"]) for row in group if row["T"] in FAR)
    if far:
        axes.plot(*zip(*far, strict=True), "o:", color=colour)


def main() -> None:
    """Train, evaluate, and write the table's rows, the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where runs are, or will be")
    parser.add_argument("--output", type=Path, default=Path("outputs/length"), help="path of the files, without suffix")
    given = parser.parse_args()
    rows = list(everything(given.folder))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with given.output.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, given.output.with_suffix(".png"))
    print(markdown(rows))


if __name__ == "__main__":
    main()
