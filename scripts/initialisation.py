"""How many epochs training takes from each start of the embedding's biases: the table in docs/initialisation.md.

python -m scripts.initialisation --seeds 5
"""

import argparse
import statistics
import tempfile

import ffattn
from ffattn.provenance import commit, versions

EPOCH, MOST_EPOCHS = 1000, 10
CELLS = [("uniform", 0.003), ("zero", 0.003), ("uniform", 0.01), ("zero", 0.01)]


def epochs(bias_init: str, lr: float, seed: int, task: str, T: int) -> float:
    """Epochs until every validation sequence is solved; infinite if the run ends before."""
    with tempfile.TemporaryDirectory() as folder:
        run = ffattn.fit(
            f"model.bias_init={bias_init}",
            f"optim.lr={lr}",
            "trainer.progress=none",
            task=task,
            T=T,
            seed=seed,
            updates=EPOCH * MOST_EPOCHS,
            logger="none",
            folder=f"{folder}/run",
            quiet=True,
        )
    return run.result["epochs"] if run.result["stopped_because"] == "solved" else float("inf")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0..n-1")
    parser.add_argument("--task", default="add")
    parser.add_argument("--T", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{arguments.task}, T={arguments.T}; torch {versions()['torch']}, commit {commit()}\n")
    print("| bias_init | lr | epochs of each seed | median |\n|---|---|---|---|")
    for bias_init, lr in CELLS:
        counts = [epochs(bias_init, lr, seed, arguments.task, arguments.T) for seed in range(arguments.seeds)]
        cells = " ".join(f"{count:g}".replace("inf", f">{MOST_EPOCHS}") for count in counts)
        print(f"| {bias_init} | {lr} | {cells} | {statistics.median(counts):g} |", flush=True)


if __name__ == "__main__":
    main()
