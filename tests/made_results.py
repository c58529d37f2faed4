"""Results of runs that were never made: whatever a table needs, with numbers that are chosen."""

from pathlib import Path

from ffattn.runs.cells import FinishedRun, cells_of


def result_of(
    lr=0.003,
    seed=0,
    updates=1000,
    accuracy=1.0,
    reason="solved",
    *,
    test_accuracy=None,
    to_solve=None,
    validations=None,
    error=1e-4,
    baseline=0.1536,
    **settings,
):
    """The result of a training run of format 2; solved after its last update if its best validation has accuracy 1."""
    task, model, T = (settings.pop(name, value) for name, value in (("task", "add"), ("model", "ffattn"), ("T", 50)))
    constant = {"accuracy": baseline, "error": 1 / 24}
    length = {"_target_": "ffattn.tasks.Paper", "T": T, "attend_to_padding": settings.pop("padding", False)}
    is_solved = accuracy == 1
    tested = accuracy if test_accuracy is None else test_accuracy
    made = {
        "format": 2,
        "task": task,
        "model": model,
        "T": T,
        "seed": seed,
        "updates": updates,
        "solved": is_solved,
        "updates_to_solve": (to_solve or updates) if is_solved else None,
        "stopped_because": reason,
        "seconds": updates / 100,
        "updates_per_second": 1000 / T,
        "peak_memory_mb": 600.0 + T,
        "val": {"accuracy": accuracy, "error": error, "update": updates, "baseline": constant},
        "test": {"accuracy": tested, "error": error, "baseline": constant},
        "device": "cpu (x86_64, 1 thread)",
        "commit": "abc",
        "command": ["python", "-m", "ffattn.train", f"task={task}", "hydra/launcher=joblib", "hydra.sweep.dir=/x/y"],
        "settings": {
            "task": {"_target_": "ffattn.tasks.Add", "length": length},
            "model": {"_target_": "ffattn.models.FFAttention", "init": settings.pop("init", "paper")},
            "optim": {"_target_": "ffattn.optim.Adam", "lr": lr},
            "trainer": {"race": settings.pop("race", True), "validate_every": 1000, "progress": "none"},
            "accelerator": {"device": settings.pop("device", "cpu")},
            "logger": {"kind": "none"},
            "T": T,
            "seed": seed,
            "updates": settings.pop("most", 100_000),
            "resume": "last",
            "batch_size": settings.pop("batch_size", 100),
        },
    }
    assert not settings, settings
    return made | ({"validations": validations} if validations else {})


def curve(*accuracies):
    """Validations after every 100 updates."""
    updates = [100 * number for number, _ in enumerate(accuracies, start=1)]
    return {"update": updates, "accuracy": list(accuracies), "error": [0.0] * len(accuracies)}


def runs(*results):
    """Finished runs of some results, each in a directory of its own."""
    return [FinishedRun(Path(f"run{number}"), result) for number, result in enumerate(results)]


def cells(*results):
    """The cells of some results."""
    return cells_of(runs(*results))
