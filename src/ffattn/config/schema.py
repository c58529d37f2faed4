"""The root of each command's configuration, and the groups that belong to no task or model."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from ffattn.errors import SettingError
from ffattn.inference.checkpoint import SPLITS, build_network
from ffattn.models import Model
from ffattn.optim import Adam, Optim
from ffattn.rng.streams import MAX_SEED, Split
from ffattn.settings import Settings, setting
from ffattn.system.ranks import World, world
from ffattn.tasks import GivenTask, Task

_IN_EXTRA = "mlflow", "wandb"  # loggers
QUIET = "quiet"
IGNORE = "ignore"  # what becomes of curves that cannot be written
STOP, ACCUMULATE = "stop", "accumulate"  # where memory does not suffice
EXPORTS = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}
_NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "safetensors": ("safetensors",)}
PRECISIONS = ("32", "64", "bf16-mixed", "16-mixed")
_SHARDED_PRECISIONS = "32", "bf16-mixed"
NONE, BATCH, TIME, PARAMETERS = "none", "batch", "time", "parameters"


@dataclass
class Trainer(Settings):
    """The course of training.

    Attributes:
        validate_every: Updates between validations; null for one pass over given data.
        sequences: How many sequences validation and test have each; null for all of given data.
        stop_when_solved: Stop at the first validation with accuracy 1.
        patience: Stop after so many validations without a better one (of given data a smaller error, else a higher
            accuracy); or null.
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
    def torch_device(self) -> torch.device:
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

    kind: str = setting("tensorboard", choices=("tensorboard", "csv", "many", *_IN_EXTRA, "none"))
    on_error: str = setting("stop", choices=("stop", IGNORE))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind in _IN_EXTRA and importlib.util.find_spec(self.kind) is None:
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
        self._check_whole()
        if self.accelerator.cuda_graph:
            self._check_graph()
        if self.accelerator.processes > 1:
            self._check_division(self.accelerator.divide, self.accelerator.processes)
        _require_same_length(self.T, self.task)

    @property
    def validate_every(self) -> int:
        """Updates between validations: the setting, or one pass over given data."""
        if self.trainer.validate_every is not None:
            return self.trainer.validate_every
        size, batch = self.task.size(Split.TRAIN), self.batch_size * self.trainer.accumulate
        assert size is not None
        return -(-size // batch)

    def _check_data(self) -> None:
        """What is given has its own sizes and lengths, and what is made has not."""
        if isinstance(self.task, GivenTask):
            _refuse_length(self.T, self.task)
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
        if divide == TIME and not hasattr(build_network(self.model, self.task), "start"):
            problem = "takes the steps of a sequence in their order, which processes cannot divide; use model=ffattn"
            raise SettingError("model", self.model.name, problem)
        if divide == PARAMETERS and self.precision not in _SHARDED_PRECISIONS:
            problem = f"accelerator=fsdp must have one of {', '.join(_SHARDED_PRECISIONS)}, which Lightning can shard"
            raise SettingError("precision", self.precision, problem)
        if divide == PARAMETERS and self.trainer.ema_decay is not None:
            problem = "cannot be combined with accelerator=fsdp: averages would need whole parameters"
            raise SettingError("trainer.ema_decay", self.trainer.ema_decay, problem)

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


def _refuse_length(T: int, task: GivenTask) -> None:
    """T is known from the data; where settings are made again it is known already."""
    if task.length.T != T:
        raise SettingError("T", T, "these sequences have their own lengths; leave T out")


def _require_same_length(T: int, task: Task) -> None:
    if task.length.T != T:
        raise SettingError("T", T, f"differs from task.length.T={task.length.T}; write T alone, which sets both")


@dataclass
class Evaluate(Settings):
    """Everything that `python -m ffattn.evaluate` is told.

    Attributes:
        checkpoint: The file to evaluate.
        task: The checkpoint's own, with the changes asked for, or another one.
        accelerator: Where it runs.
        T: Nominal length, in steps; the checkpoint's own unless given. Given data has its own.
        sequences: How many sequences; of given data all.
        batch_size: Sequences in a batch.
        seed: Of the sequences; the checkpoint's own unless given.
        split: `test` or `val`: which of the seed's sets.
        trust: Packages outside ffattn from which the checkpoint's task and model may be imported.
    """

    is_partial: ClassVar[bool] = False  # whether given data is looked at in part

    checkpoint: str
    task: Task
    accelerator: Accelerator = field(default_factory=Accelerator)
    T: int = setting(100, low=1)
    sequences: int = setting(1000, low=1)
    batch_size: int = setting(100, low=1)
    seed: int = setting(0, low=0, high=MAX_SEED)
    split: str = setting("test", choices=SPLITS)
    trust: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.accelerator.processes > 1:
            count = self.accelerator.processes
            raise SettingError("accelerator.devices", count, "evaluation has one process; use accelerator=auto")
        if isinstance(self.task, GivenTask):
            _refuse_length(self.T, self.task)
            self.T = self.task.length.T
        _require_same_length(self.T, self.task)


def _check_folder(output: str) -> None:
    if not Path(output).absolute().parent.is_dir():
        raise SettingError("output", output, f"there is no folder {Path(output).parent}")


@dataclass
class Predict(Settings):
    """Everything that `python -m ffattn.predict` is told.

    Attributes:
        checkpoint: The trained network.
        input: A file of sequences, in any form that training takes.
        output: The file to be written: `.csv`, `.jsonl` or `.parquet`.
        id: The column that tells which sequence a row belongs to; the checkpoint's own unless given.
        time: The column by which steps are ordered; likewise.
        on_error: What becomes of sequences with values that cannot be used: `stop` at the first, or `skip` them, with a
            word on what is wrong in their row.
        weights: Whether attention weights are written, one for each step (not in `.csv`).
        accelerator: Where it runs.
        trust: Packages outside ffattn from which the checkpoint's task and model may be imported.
    """

    checkpoint: str
    input: str
    output: str
    id: str | None = None
    time: str | None = None
    on_error: str = setting("stop", choices=("stop", "skip"))
    weights: bool = False
    accelerator: Accelerator = field(default_factory=Accelerator)
    trust: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if Path(self.output).suffix not in {".csv", ".jsonl", ".parquet"}:
            raise SettingError("output", self.output, "must end in .csv, .jsonl or .parquet")
        _check_folder(self.output)
        if self.weights and self.output.endswith(".csv"):
            raise SettingError("weights", "true", "a list for each sequence needs output=NAME.jsonl or NAME.parquet")
        if Path(self.output).exists() and Path(self.output).samefile(self.input):
            raise SettingError("output", self.output, "is the input")


@dataclass
class Export(Settings):
    """Everything that `python -m ffattn.export` is told.

    Attributes:
        checkpoint: The trained network.
        output: The file to be written: `.onnx`, `.pt2` (of torch.export) or `.safetensors` (weights alone, which
            `ffattn.load` reads).
        format: `onnx`, `torch_export` or `safetensors`; what the output's name ends in, unless given.
        weights: Whether attention weights are a second output.
        trust: Packages outside ffattn from which the checkpoint's task and model may be imported.
    """

    checkpoint: str
    output: str
    format: str | None = setting(None, choices=(None, *EXPORTS))
    weights: bool = False
    trust: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        suffix = Path(self.output).suffix
        if self.format is None:
            self.format = next((name for name, own in EXPORTS.items() if own == suffix), None)
        if self.format is None or EXPORTS[self.format] != suffix:
            wanted = ", ".join(EXPORTS.values()) if self.format is None else EXPORTS[self.format]
            raise SettingError("output", self.output, f"must end in {wanted}")
        _check_folder(self.output)
        for package in _NEEDED[self.format]:
            if importlib.util.find_spec(package) is None:
                raise SettingError("format", self.format, f"needs {package}: pip install 'ffattn[export]'")


@dataclass
class Stream(Settings):
    """Everything that `python -m ffattn.stream` is told.

    Attributes:
        checkpoint: The trained network, a feed-forward one.
        every: Steps between answers.
        trust: Packages outside ffattn from which the checkpoint's task and model may be imported.
    """

    checkpoint: str
    every: int = setting(1000, low=1)
    trust: list[str] = field(default_factory=list)


@dataclass
class Inspect(Evaluate):
    """Everything that `python -m ffattn.inspect` is told.

    Attributes:
        checkpoint, task, accelerator, T, seed, split, trust, batch_size: As in `Evaluate`.
        sequences: How many sequences are looked at, all at a time.
        index: Which of them is shown step by step.
    """

    is_partial: ClassVar[bool] = True

    sequences: int = setting(200, low=1)
    index: int = setting(0, low=0)
