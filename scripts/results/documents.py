"""Classify documents, and show the words that are attended to: the table in docs/results/documents.md.

    python -m scripts.results.documents documents.parquet             # only write the file
    python -m scripts.results.documents documents.parquet --seeds 5   # and train

The documents are in every Python installation: the docstrings of the standard library, of at least 15 words each. What
is to be told is the package that one is from. Documents of one module are all on one side of the split, so that
nothing is told by a module's own phrases. They differ a little between versions of Python.
"""

import argparse
import ast
import platform
import statistics
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import ffattn
from ffattn.files import Layout, SplitRule, assign_parts, read_sequences
from ffattn.files.splits import GROUP, TEST
from ffattn.inference.on_files import predict, read_inputs
from ffattn.system.provenance import commit

PACKAGES = [
    "asyncio",
    "email",
    "http",
    "importlib",
    "logging",
    "multiprocessing",
    "tkinter",
    "unittest",
    "urllib",
    "xml",
]
MODELS = {
    "ffattn": "model=ffattn",
    "ffattn, linear scores": "model=ffattn model.score=linear",
    "mean": "model=mean",
    "lstm_attention": "model=lstm_attention",
}
_FEWEST = 15  # words
_COURSE = "batch_size=32 updates=3000 trainer.validate_every=50 accelerator=cpu logger=none trainer.progress=none"
_DATA = "task=file task.target=package task.features=[text] task.split=group task.split_by=module task.embedding=64"


def documents() -> Iterator[dict[str, str]]:
    """Each docstring with its module and its package."""
    root = Path(sysconfig.get_paths()["stdlib"])
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                text = ast.get_docstring(node) if isinstance(node, kinds) else None
                if text and len(text.split()) >= _FEWEST:
                    yield {"text": text, "package": package, "module": str(path.relative_to(root))}


def overrides(path: Path, model: str, seed: int) -> list[str]:
    """Of a run."""
    return f"{_DATA} task.path={path} {model} seed={seed} task.split_seed={seed} {_COURSE}".split()


def bag_of_words(path: Path, seed: int) -> float:
    """Score of logistic regression on TF-IDF, trained on the same documents, those for validation included."""
    raw = read_sequences(path, Layout(features=("text",), of_sequence=("package", "module")))
    parts = assign_parts(raw, SplitRule(GROUP, "module", 0.15, 0.15, seed))
    table = parquet.read_table(path)
    texts, packages = (np.array(table[name].to_pylist(), dtype=object) for name in ("text", "package"))
    is_test = parts == TEST
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=2000))
    return float(model.fit(texts[~is_test], packages[~is_test]).score(texts[is_test], packages[is_test]))


def attended(checkpoint: Path, path: Path) -> Iterator[str]:
    """For each package the words with most weight in documents that are rightly told to be from it."""
    trained = ffattn.load(checkpoint)
    inputs = read_inputs(path, trained.task)
    packages = parquet.read_table(path, columns=["package"])["package"].to_pylist()
    sums: dict[str, Counter[str]] = {name: Counter() for name in PACKAGES}
    counts: dict[str, Counter[str]] = {name: Counter() for name in PACKAGES}
    for row, package in zip(predict(trained, inputs.pieces, weights=True), packages, strict=True):
        if row["package"] == package:
            for word, weight in zip(row["words"], row["weights"], strict=True):
                sums[package][word] += weight * len(row["words"])
                counts[package][word] += 1
    for package in PACKAGES:
        means = {word: sums[package][word] / n for word, n in counts[package].items() if n >= 5}
        best = sorted(means, key=lambda word: -means[word])[:8]
        yield f"| `{package}` | {', '.join(f'{word} ({means[word]:.1f})' for word in best)} |"


def table(path: Path, seeds: int) -> Iterator[str]:
    """Scores, and the words of the first seed."""
    rows: dict[str, list[float]] = {}
    words: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, model in MODELS.items():
            for seed in range(seeds):
                run = ffattn.fit(*overrides(path, model, seed), folder=Path(folder, f"{name}_{seed}"), quiet=True)
                rows.setdefault(name, []).append(run.result["test"]["accuracy"])
                if not seed:
                    rows.setdefault("the best constant", []).append(run.result["test"]["baseline"]["accuracy"])
                if not seed and name == "ffattn, linear scores":
                    words = list(attended(run.checkpoint, path))
    rows["TF-IDF + logistic regression"] = [bag_of_words(path, seed) for seed in range(seeds)]
    yield "| model | right on the test |\n|---|---:|"
    for name, scores in rows.items():
        deviation = f" +- {statistics.stdev(scores):.1%}" if len(scores) > 1 and name != "the best constant" else ""
        yield f"| {name} | {statistics.mean(scores):.1%}{deviation} |"
    yield "\n| package | words with most weight, as multiples of equal weights |\n|---|---|"
    yield from words


def main() -> None:
    """Write the file, and print the tables if models are to be trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="a .parquet file to write")
    parser.add_argument("--seeds", type=int, default=0, help="runs of each model")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = list(documents())
    parquet.write_table(pa.Table.from_pylist(found), arguments.path)
    print(
        f"{len(found):,} documents of {len(PACKAGES)} packages; Python {platform.python_version()}, commit {commit()}\n"
    )
    if arguments.seeds:
        for line in table(arguments.path, arguments.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
