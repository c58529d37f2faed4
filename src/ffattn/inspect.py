"""`python -m ffattn.inspect`: pictures of what a checkpoint's attention does, as PNG files and as one web page.

python -m ffattn.inspect checkpoint=outputs/mine/checkpoints/best.ckpt index=3
"""

import importlib.util
import time
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from ffattn.config.command import run_command
from ffattn.config.errors import ConfigError
from ffattn.config.jobs import Command, Finished

if TYPE_CHECKING:
    from ffattn.config.jobs import Sweep
    from ffattn.config.trained_schema import Inspect
    from ffattn.figures.record import AttentionRecord
    from ffattn.inference.trained import TrainedModel
    from ffattn.rng.streams import Stream
    from ffattn.tasks import Task

PAGE = "index.html"
_CAPTIONS = {
    "sequence": "One sequence: inputs, scores, and weights relative to equal ones.",
    "answers": "Answers against targets.",
    "lengths": "Accuracy by length.",
    "heat_map": "Weights around the relevant steps, relative to equal ones.",
    "score_function": "The score of a step as a function of its input: what attention has learned.",
}


def _prepare(config: DictConfig, folder: Path, in_sweep: bool) -> "Inspect | Finished":
    from ffattn.config.trained_schema import Inspect, refuse_early

    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("python -m ffattn.inspect: needs matplotlib: pip install 'ffattn[pictures]'")
    refuse_early(config, Inspect)
    from ffattn.runs.evaluating import prepare  # imports torch, which takes seconds: mistakes come first

    settings: Inspect | Finished = prepare(Inspect, config, folder, in_sweep)
    if not isinstance(settings, Finished):
        _check_index(settings)
    return settings


def _check_index(settings: "Inspect") -> None:
    from ffattn.rng.streams import Split

    size = settings.task.size(Split[settings.split.upper()])
    if size is not None and settings.index >= size:
        raise ConfigError(f"index={settings.index}: must be less than {size}, the sequences of split={settings.split}")
    if size is None and settings.index >= settings.sequences:
        raise ConfigError(f"index={settings.index}: must be less than sequences={settings.sequences}")


def _execute(settings: "Inspect", folder: Path, in_sweep: bool) -> None:
    import numpy as np
    from rich.console import Console

    from ffattn.figures.attention import draw_all, draw_sequence
    from ffattn.figures.html import page, paragraph, picture, steps_of
    from ffattn.figures.record import record_attention
    from ffattn.inference.trained import load
    from ffattn.rng.streams import Split, Stream
    from ffattn.runs.result import FORMAT, write_result
    from ffattn.settings import to_plain
    from ffattn.system.atomic_files import atomic_write
    from ffattn.system.provenance import provenance

    started = time.monotonic()
    trained = load(settings.checkpoint, tuple(settings.trust), settings.accelerator.torch_device)
    stream = Stream(settings.seed, Split[settings.split.upper()])
    record = record_attention(trained.network, settings.task, stream, settings.sequences, settings.index)
    place = int(np.searchsorted(record.numbers, settings.index))
    figures = draw_all(trained.network, record)
    figures["sequence"] = draw_sequence(record, place)
    parts = [
        paragraph(f"{trained.model.name} after {trained.update} updates: {record.title}."),
        steps_of(record, place),
    ]
    for name, figure in figures.items():
        with atomic_write(folder / f"{name}.png") as part:
            figure.savefig(part)
        parts.append(picture(figure, _CAPTIONS[name]))
    with atomic_write(folder / PAGE) as part:
        part.write_text(page(f"{trained.model.name} on {settings.task.name}", parts))
    task = settings.task
    source = provenance(settings.accelerator.torch_device)
    seconds = time.monotonic() - started
    means = _means(trained, task, stream, record) | {"baseline": task.baseline_on(stream.split)._asdict()}
    result = {"format": FORMAT, settings.split: means, "seconds": seconds, **source, "settings": to_plain(settings)}
    write_result(folder, result)
    Console(quiet=in_sweep).print(f"{record.title}\n{folder / PAGE}", highlight=False, markup=False, soft_wrap=True)


def _means(trained: "TrainedModel", task: "Task", stream: "Stream", record: "AttentionRecord") -> dict[str, float]:
    """Accuracy and error: of given data those of the whole split, of which the pictures may show a sample."""
    from ffattn.inference.evaluation import evaluate

    size = task.size(stream.split)
    if size is None or size == len(record.numbers):
        return {"accuracy": float(record.is_correct.mean()), "error": record.error}
    scores = evaluate(trained.network, task, stream, size)
    return {name: scores[name] for name in ("accuracy", "error")}


def _sweep() -> "Sweep":
    from ffattn.runs.outcomes import SWEEP

    return SWEEP


def main() -> None:
    """The command line."""
    run_command(Command("inspect", _prepare, _execute, _sweep))


if __name__ == "__main__":
    main()
