"""Jobs of a sweep that are trained as one model: which of them can be, which belong together, and their training."""

import json
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Trainer

from ffattn.config.lock import locked
from ffattn.config.schema import ACCUMULATE, Train
from ffattn.errors import FFAttnError
from ffattn.inference.checkpoint import build_network
from ffattn.lightning.callbacks.curves import Curves
from ffattn.lightning.callbacks.signals import Interruptions
from ffattn.lightning.stacking.member import Member, MemberModule
from ffattn.lightning.stacking.module import FEWEST, EndOfUpdate, StackedModule, save_members, stack_batches
from ffattn.lightning.stacking.parameters import StackedParameters
from ffattn.lightning.trainer import make_trainer, quiet_lightning, threads
from ffattn.models import Model
from ffattn.rng.streams import Split, Stream
from ffattn.runs.building import loggers_of, make_checkpoints, make_data, make_module
from ffattn.runs.resuming import Start, find_start
from ffattn.runs.training import status_of
from ffattn.settings import to_plain
from ffattn.system.denormals import flushed_denormals
from ffattn.tasks import Task

# what each model of a stack has of its own; everything else must be the same
_OWN = {"seed", "optim", "logger", "resume", "init_from"}
# likewise of `trainer`
_OWN_OF_TRAINER = {"gradient_clip", "stop_when_solved", "race", "log_every", "progress"}


class PlannedRun(NamedTuple):
    """A run that a sweep asks for.

    Attributes:
        settings: The run.
        folder: Where it is written.
    """

    settings: Train
    folder: Path


class ClaimedRun(NamedTuple):
    """A run that is to be trained, in a directory that this process has locked.

    Attributes:
        settings: The run.
        folder: Where it is written.
        start: Where it starts.
    """

    settings: Train
    folder: Path
    start: Start


def train_together(runs: Sequence[PlannedRun], largest: int) -> None:
    """Train runs as far as that is faster together; whatever is left to do, such as the test, each does by itself.

    Each run directory then holds what the run would have written alone, but for `result.json`. Runs that another
    process is working on are left to it, so that several processes share the groups.

    Args:
        runs: What is to be trained.
        largest: The most models in a stack.
    """
    obstacles = [obstacle_to(run.settings) for run in runs]
    for reason, count in Counter(filter(None, obstacles)).items():
        _say(f"{reason}: {count} job{'s' * (count > 1)} not stacked, but trained alone")
    suitable = [run for run, obstacle in zip(runs, obstacles, strict=True) if obstacle is None]
    for group in groups_of(suitable, largest):
        with ExitStack() as locks:
            claimed = [found for run in group if (found := _claim(run, locks)) is not None]
            for update in sorted({run.start.update for run in claimed}):
                stack = [run for run in claimed if run.start.update == update]
                if len(stack) >= FEWEST:
                    _train_stack(stack)


def _say(text: str) -> None:
    print(f"hydra/launcher=stacked: {text}", file=sys.stderr, flush=True)


def obstacle_to(settings: Train) -> str | None:
    """Return why a run cannot be part of a stack; None if it can.

    Args:
        settings: The run.
    """
    options = settings.trainer
    accelerator = settings.accelerator
    obstacles = {
        f"accelerator.devices={accelerator.devices}": accelerator.processes > 1,
        "accelerator.cuda_graph=true": accelerator.cuda_graph,
        "precision=16-mixed": settings.precision == "16-mixed",
        f"trainer.on_oom={options.on_oom}": options.on_oom == ACCUMULATE,
        "trainer.ema_decay": options.ema_decay is not None,
        "trainer.detect_anomaly=true": options.detect_anomaly,
        f"trainer.pictures={options.pictures}": options.pictures is not None,
        "logger=wandb": settings.logger.kind == "wandb",  # which has one run in a process at a time
        f"trainer.profiler={options.profiler}": options.profiler != "none",
        f"resume={settings.resume}": settings.resume not in {None, "last"},
    }
    found = [text for text, is_there in obstacles.items() if is_there]
    return found[0] if found else _obstacle_in(settings.model, settings.task)


def _obstacle_in(model: Model, task: Task) -> str | None:
    """Find out by trying with two sequences whether a model and a task can be stacked."""
    batch = task.training_batch(Stream(0, Split.TRAIN), 0, torch.arange(2))
    stacked = StackedParameters([build_network(model, task, seed) for seed in range(2)], task)
    try:
        stacked.losses(stack_batches([batch, batch]))[0].sum().backward()
    except Exception as error:  # of another's code, under a transform that its author may never have heard of
        is_random = "randomness" in str(error)
        why = "is random in training" if is_random else str(error).strip().partition("\n")[0].partition(". ")[0]
        return f"model={model.name} ({why})"
    return None


def _claim(run: PlannedRun, locks: ExitStack) -> ClaimedRun | None:
    """Keep others from a run directory, if there is something to train for it."""
    run.settings.resume = "last"
    try:
        locks.enter_context(locked(run.folder))
        start = find_start(run.settings, run.folder)
    except (FFAttnError, OSError):  # another process is there, or a file is damaged: the job itself will say so
        return None
    return None if start.is_trained or start.result is not None else ClaimedRun(*run, start)


def groups_of(runs: Iterable[PlannedRun], largest: int) -> Iterator[list[PlannedRun]]:
    """Put together what can be trained together: runs of which all settings are equal but those of `_OWN`.

    Args:
        runs: What is to be trained.
        largest: The most in a group; of more, several groups of one size are made.
    """
    equal: dict[str, list[PlannedRun]] = defaultdict(list)
    for run in runs:
        equal[_common(run.settings)].append(run)
    for group in equal.values():
        count = -(-len(group) // largest)
        yield from (group[part * len(group) // count : (part + 1) * len(group) // count] for part in range(count))


def _common(settings: Train) -> str:
    plain: dict[str, Any] = {key: value for key, value in to_plain(settings).items() if key not in _OWN}
    plain["trainer"] = {key: value for key, value in plain["trainer"].items() if key not in _OWN_OF_TRAINER}
    return json.dumps(plain)


def _train_stack(stack: Sequence[ClaimedRun]) -> None:
    """Train a stack; if that fails, each job goes on by itself from its last checkpoint."""
    settings = stack[0].settings
    quiet_lightning()
    _say(f"{len(stack)} models of {settings.model.name} on {settings.task.summary()} are trained as one")
    with flushed_denormals(), threads(settings.accelerator.num_threads):
        trainer = _trainer_of(stack[0])
        say = None if settings.trainer.progress == "none" else _say
        members: list[Member] = []
        try:
            members.extend(map(_member_of, stack))
            trainer.fit(StackedModule(members, say), ckpt_path=stack[0].start.checkpoint, weights_only=True)
        except SystemExit as stop:
            sys.exit(status_of(stop))
        except FFAttnError as error:
            _say(f"{error}; the jobs of the stack go on alone")
        except Exception:
            traceback.print_exc()
            _say("the stack failed; its jobs go on alone")
        finally:
            for member in members:
                member.leave()


def _trainer_of(run: ClaimedRun) -> Trainer:
    """Make the Trainer of the stack that a run is the first member of."""
    settings = run.settings
    return make_trainer(
        run.folder,
        [],
        [EndOfUpdate(), Interruptions(save_members)],
        device=settings.accelerator.resolved,
        precision=settings.precision,
        updates=settings.updates,
        accumulate=settings.trainer.accumulate,
    )


def _member_of(run: ClaimedRun) -> Member:
    settings = run.settings
    module = make_module(settings, MemberModule).to(settings.accelerator.torch_device)
    assert isinstance(module, MemberModule)
    return Member(
        module,
        make_data(settings),
        loggers_of(settings, run.folder, run.start.update),
        Curves(settings.trainer.log_every),
        make_checkpoints(settings, run.folder),
        settings.trainer.gradient_clip,
        run.start.checkpoint,
    )
