"""What training is told: the root of its configuration, and the groups that belong to no task or model."""

import importlib.util
from dataclasses import dataclass, field

from ffattn.errors import SettingError
from ffattn.models import Model
from ffattn.optim import Adam, Optim
from ffattn.rng.streams import MAX_SEED, Split
from ffattn.settings import Settings, setting
from ffattn.system.lazy import torch
from ffattn.system.ranks import World, world
from ffattn.tasks import Task

# trainer.on_oom: what happens where memory does not suffice
STOP = "stop"
ACCUMULATE = "accumulate"

# accelerator.divide: what the processes of a run divide
NONE = "none"
BATCH = "batch"
TIME = "time"
PARAMETERS = "parameters"

QUIET = "quiet"  # trainer.progress: nothing but errors is printed
IGNORE = "ignore"  # logger.on_error: what becomes of curves that cannot be written
PRECISIONS = ("32", "64", "bf16-mixed", "16-mixed")
_SHARDED_PRECISIONS = ("32", "bf16-mixed")
_LOGGERS_IN_EXTRA = ("mlflow", "wandb")


@dataclass
class Trainer(Settings):
    """The course of training.

    Attributes:
        validate_every: Updates between validations; null for one pass over given data.
        sequences: How many sequences validation and test have each; null for all of given data.
        stop_when_solved: Stop at the first validation with accuracy 1.
        patience: Stop after so many validations without a better one (of given data a smaller error, else a higher
            accuracy); or null.
        min_updates: The fewest updates after which `patience` may stop: a pass over little data is a few updates.
        race: Stop at the first validation by which a run beside this one, with another learning rate and all else the
            same, had a validation with accuracy 1 in as few updates (Raffel & Ellis, published code).
        accumulate: Batches whose gradients make one update.
        on_oom: What happens where memory does not suffice for a batch: `stop` ends the run with a line on what helps;
            `accumulate` takes batches in parts from then on, whose gradients add up to the same (docs/training.md).
        gradient_clip: Largest norm of the gradient, or null (docs/training.md).
        ema_decay: Decay of an exponential moving average of the weights, which is then what is validated, tested and
            kept; or null.
        distinct_batches: Train on the first so many batches again and again, and validate on them; or null.
        log_every: Updates between log entries.
        pictures: Validations between pictures of attention, in the run directory and in TensorBoard (extra
            `pictures`), or null for none.
        progress: `auto` (bar in a terminal, lines elsewhere), `bar`, `lines`, `none`, or `quiet`: neither progress, nor
            header, nor the table at the end, but errors.
        detect_anomaly: Let autograd check every operation for NaN (slow).
        profiler: `none`, `simple`, `advanced` or `pytorch`; the report goes to the run directory.
    """

    validate_every: int | None = setting(1000, low=1)
    sequences: int | None = setting(1000, low=1)
    stop_when_solved: bool = True
    patience: int | None = setting(None, low=1)
    min_updates: int = setting(0, low=0)
    race: bool = False
    accumulate: int = setting(1, low=1)
    on_oom: str = setting(STOP, choices=(STOP, ACCUMULATE))
    gradient_clip: float | None = setting(None, above=0)
    ema_decay: float | None = setting(None, above=0, below=1)
    distinct_batches: int | None = setting(None, low=1)
    log_every: int = setting(50, low=1)
    pictures: int | None = setting(None, low=1)
    progress: str = setting("auto", choices=("auto", "bar", "lines", "none", QUIET))
    detect_anomaly: bool = False
    profiler: str = setting("none", choices=("none", "simple", "advanced", "pytorch"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pictures is not None and importlib.util.find_spec("matplotlib") is None:
            raise SettingError("pictures", self.pictures, "needs matplotlib: pip install 'ffattn[pictures]'")


@dataclass
class Accelerator(Settings):
    """Where it runs.

    Attributes:
        device: `auto` (the GPU if there is one), `cpu` or `gpu`.
        divide: What the processes of a run divide: the `batch` (data parallel), the batch and the `parameters` (fully
            sharded), the `time` of every sequence (sequence parallel), or `none`, for a single process.
        devices: Processes on each machine, one GPU each.
        num_nodes: Machines; on more than one, torchrun or srun starts the processes.
        num_threads: CPU threads of torch in each process, or null for its own choice.
        cuda_graph: Capture a training step once and replay it: the same result with less time between kernels.
    """

    device: str = setting("auto", choices=("auto", "cpu", "gpu"))
    divide: str = setting(NONE, choices=(NONE, BATCH, TIME, PARAMETERS))
    devices: int = setting(1, low=1)
    num_nodes: int = setting(1, low=1)
    num_threads: int | None = setting(None, low=1)
    cuda_graph: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divide == NONE and self.processes > 1:
            key, count = ("devices", self.devices) if self.devices > 1 else ("num_nodes", self.num_nodes)
            raise SettingError(
                key, count, "is for several processes: accelerator=ddp, ddp_cpu, fsdp or sequence_parallel"
            )

    @property
    def processes(self) -> int:
        """How many processes a run has, on all machines."""
        return self.devices * self.num_nodes

    @property
    def resolved(self) -> str:
        """`cpu` or `gpu`."""
        return "gpu" if self.device != "cpu" and torch.cuda.is_available() else "cpu"

    @property
    def torch_device(self) -> "torch.device":
        """The device that tensors go to."""
        return torch.device("cuda" if self.resolved == "gpu" else "cpu")

    def check(self, precision: str) -> None:
        """Refuse what this machine cannot do.

        Args:
            precision: One of `PRECISIONS`.

        Raises:
            SettingError: There are too few GPUs, the precision needs another device, or the processes that were started
                are not those of the settings.
        """
        self._check_processes(world())
        if self.device == "gpu" and self.resolved == "cpu":
            raise SettingError("accelerator", "gpu", "torch finds no CUDA device here; use accelerator=cpu")
        if self.resolved == "gpu" and self.devices > (count := torch.cuda.device_count()):
            raise SettingError("accelerator.devices", self.devices, f"torch finds {count} on this machine")
        if precision == "16-mixed" and self.resolved == "cpu":
            raise SettingError("precision", precision, "needs a GPU; on a CPU use precision=bf16-mixed")
        if precision == "bf16-mixed" and self.resolved == "gpu" and not torch.cuda.is_bf16_supported(False):
            raise SettingError("precision", precision, "this GPU computes no bfloat16; use precision=16-mixed")
        if self.cuda_graph and self.resolved == "cpu":
            raise SettingError("accelerator.cuda_graph", "true", "needs a GPU, and torch finds no CUDA device here")

    def _check_processes(self, started: World) -> None:
        """Compare the settings with what torchrun or srun has started."""
        if self.num_nodes > 1 and started.size == 1:
            problem = "start the command on every machine with torchrun, or with srun (docs/scale.md)"
            raise SettingError("accelerator.num_nodes", self.num_nodes, problem)
        if started.size > 1 and (started.size, started.local_size) != (self.processes, self.devices):
            problem = (
                f"{started.starter} has started {started.size} processes, {started.local_size} on this machine, and "
                f"accelerator.num_nodes={self.num_nodes} accelerator.devices={self.devices} need {self.processes}"
            )
            raise SettingError("accelerator.devices", self.devices, problem)


@dataclass
class Logger(Settings):
    """Where the curves go.

    Attributes:
        kind: `tensorboard`, `csv`, `many` (both), `mlflow` (the store that MLFLOW_TRACKING_URI names, or
            outputs/mlflow.db), `wandb` (in the run directory, offline unless WANDB_MODE=online) or `none`.
        on_error: What happens when a curve cannot be written, say to a full disk: `stop` ends the run, with its last
            checkpoint whole; `ignore` says so once and goes on without.
    """

    kind: str = setting("tensorboard", choices=("tensorboard", "csv", "many", *_LOGGERS_IN_EXTRA, "none"))
    on_error: str = setting("stop", choices=("stop", IGNORE))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind in _LOGGERS_IN_EXTRA and importlib.util.find_spec(self.kind) is None:
            raise SettingError("kind", self.kind, f"needs {self.kind}: pip install 'ffattn[loggers]'")


@dataclass
class Train(Settings):
    """Everything that `python -m ffattn.train` is told.

    Attributes:
        task: What is learned.
        model: What learns it.
        optim: How weights are updated.
        trainer: The course of training.
        accelerator: Where it runs.
        logger: Where the curves go.
        T: Nominal sequence length, in steps; the length group reads it.
            Given data has its own: 0 until it has been read.
        seed: Of all random numbers: data, weights, dropout.
        precision: One of `PRECISIONS`.
        batch_size: Sequences in a batch.
        updates: The most optimiser steps.
        resume: `last` (this run directory's last checkpoint, or a fresh start) or a checkpoint to continue; or null.
        init_from: A checkpoint whose weights training starts from, unless it is resumed; or null.
    """

    task: Task
    model: Model
    optim: Optim
    trainer: Trainer = field(default_factory=Trainer)
    accelerator: Accelerator = field(default_factory=Accelerator)
    logger: Logger = field(default_factory=Logger)
    T: int = 100  # checked where it goes, in `task.length`
    seed: int = setting(0, low=0, high=MAX_SEED)
    precision: str = setting("32", choices=PRECISIONS)
    batch_size: int = setting(100, low=1)
    updates: int = setting(100_000, low=1)
    resume: str | None = None
    init_from: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_data()
        if self.resume not in (None, "last") and self.init_from is not None:
            raise SettingError("init_from", self.init_from, "cannot be combined with resume, which has weights already")
        if self.optim.horizon is not None and self.optim.horizon < self.updates:
            problem = f"the learning rate would be zero from there on; must be at least updates={self.updates}"
            raise SettingError("optim.horizon", self.optim.horizon, problem)
        self._check_whole()
        if self.accelerator.cuda_graph:
            self._check_graph()
        if self.accelerator.processes > 1:
            self._check_division(self.accelerator.divide, self.accelerator.processes)
        require_same_length(self.T, self.task)

    @property
    def validate_every(self) -> int:
        """Updates between validations: the setting, or one pass over given data."""
        if self.trainer.validate_every is not None:
            return self.trainer.validate_every
        size = self.task.size(Split.TRAIN)
        batch = self.batch_size * self.trainer.accumulate
        assert size is not None
        return -(-size // batch)

    def _check_data(self) -> None:
        """What is given has its own sizes and lengths, and what is made has not."""
        if self.task.is_given:
            refuse_length(self.T, self.task)
            if self.trainer.sequences is not None:
                problem = "validation and test are parts of the data; leave it out, with trainer=data"
                raise SettingError("trainer.sequences", self.trainer.sequences, problem)
            self.task.size(Split.TRAIN)  # read it: sizes, and what is wrong with it, are known from now on
            self.T = self.task.length.T
            return
        for key in ("validate_every", "sequences"):
            if getattr(self.trainer, key) is None:
                raise SettingError(f"trainer.{key}", "null", "is for given data; must be a whole number")

    def _check_whole(self) -> None:
        """Refuse what needs a process that has whole sequences and parameters, where none has."""
        whole = {"pictures": self.trainer.pictures, "on_oom": self.trainer.on_oom}
        for key, value in whole.items():
            if value not in {None, STOP} and self.accelerator.processes > 1 and self.accelerator.divide != BATCH:
                problem = "cannot be combined with processes that divide time or parameters"
                raise SettingError(f"trainer.{key}", value, problem)

    def _check_division(self, divide: str, count: int) -> None:
        """Refuse what cannot be divided among so many processes."""
        if divide != TIME and self.batch_size % count:
            raise SettingError("batch_size", self.batch_size, f"must be a multiple of the {count} processes")
        fewest = min(self.task.size(part) or self.trainer.sequences or 0 for part in (Split.VAL, Split.TEST))
        if divide != TIME and fewest < count:
            raise SettingError("trainer.sequences", fewest, f"must be at least the {count} processes")
        key, shortest = self.task.length.shortest
        if divide == TIME and shortest < count:
            raise SettingError(f"task.length.{key}", shortest, f"must be at least the {count} processes")
        if divide == TIME and not self._takes_pieces():
            problem = "takes the steps of a sequence in their order, which processes cannot divide; use model=ffattn"
            raise SettingError("model", self.model.name, problem)
        if divide == PARAMETERS and self.precision not in _SHARDED_PRECISIONS:
            problem = f"accelerator=fsdp must have one of {', '.join(_SHARDED_PRECISIONS)}, which Lightning can shard"
            raise SettingError("precision", self.precision, problem)
        if divide == PARAMETERS and self.trainer.ema_decay is not None:
            problem = "cannot be combined with accelerator=fsdp: averages would need whole parameters"
            raise SettingError("trainer.ema_decay", self.trainer.ema_decay, problem)

    def _takes_pieces(self) -> bool:
        """Return whether the network can be given a sequence in pieces, for which it is made: only it knows."""
        from ffattn.inference.checkpoint import build_network

        return hasattr(build_network(self.model, self.task), "start")

    def _check_graph(self) -> None:
        """Refuse what cannot be in a CUDA graph: other shapes, another course, numbers read back by the CPU."""
        obstacles = {
            "length=variable": self.task.length.depends_on_batch,
            "optim=sgd": not isinstance(self.optim, Adam),
            "precision=16-mixed": self.precision == "16-mixed",
            f"trainer.accumulate={self.trainer.accumulate}": self.trainer.accumulate > 1,
            f"trainer.on_oom={ACCUMULATE}": self.trainer.on_oom == ACCUMULATE,
            "trainer.detect_anomaly=true": self.trainer.detect_anomaly,
            f"accelerator.devices={self.accelerator.devices}": self.accelerator.processes > 1,
        }
        for obstacle, is_there in obstacles.items():
            if is_there:
                raise SettingError("accelerator.cuda_graph", "true", f"cannot be combined with {obstacle}")


def refuse_length(T: int, task: Task) -> None:
    """Refuse a T for sequences that have lengths of their own; where settings are made again it is known already.

    Args:
        T: Nominal length, in steps.
        task: Of given data.

    Raises:
        SettingError: T is another than the data's.
    """
    if task.length.T != T:
        raise SettingError("T", T, "these sequences have their own lengths; leave T out")


def require_same_length(T: int, task: Task) -> None:
    """Refuse a T of the root that is not the task's.

    Args:
        T: Nominal length, in steps.
        task: Has read it.

    Raises:
        SettingError: They differ.
    """
    if task.length.T != T:
        raise SettingError("T", T, f"differs from task.length.T={task.length.T}; write T alone, which sets both")
