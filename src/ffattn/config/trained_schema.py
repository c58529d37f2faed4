"""What the commands are told that read a checkpoint."""

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig, OmegaConf

from ffattn.choices import SPLITS
from ffattn.config.convert import refuse_mistakes, trusted_packages
from ffattn.config.errors import ConfigError
from ffattn.config.schema import Accelerator, refuse_length, require_same_length
from ffattn.errors import SettingError
from ffattn.files.text_files import TextSettings
from ffattn.inference.checkpoint_files import require_file
from ffattn.rng.streams import MAX_SEED
from ffattn.settings import Settings, setting
from ffattn.tasks import Task

EXPORTS = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}
_NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": (), "safetensors": ("safetensors",)}


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
        if self.task.is_given:
            refuse_length(self.T, self.task)
            self.T = self.task.length.T
        require_same_length(self.T, self.task)


def refuse_early(config: DictConfig, kind: type[Evaluate]) -> None:
    """Refuse what can be seen without the checkpoint, which is read with torch: a file or a value that cannot be right.

    Args:
        config: The values of the command.
        kind: What they will become.

    Raises:
        ConfigError: A value is missing or wrong.
        CheckpointError: There is no such file.
    """
    if OmegaConf.is_missing(config, "checkpoint"):
        raise ConfigError("checkpoint: missing; give checkpoint=PATH")
    trusted_packages(config)
    refuse_mistakes(config, kind, later={"task"})
    require_file(str(config.checkpoint))


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
        id: The column, or columns, that tell which sequence a row belongs to; the checkpoint's own unless given.
        time: The column by which steps are ordered; likewise.
        header: Whether the first line of a CSV has names: true, false or `auto`; likewise.
        decimal: What stands before the fraction of a number in CSV, `point` or `comma`; likewise.
        encoding: Of CSV and JSON Lines; likewise.
        on_error: What becomes of sequences with values that cannot be used: `stop` at the first, or `skip` them, with a
            word on what is wrong in their row.
        weights: Whether attention weights are written, one for each step (not in `.csv`).
        accelerator: Where it runs.
        trust: Packages outside ffattn from which the checkpoint's task and model may be imported.
    """

    checkpoint: str
    input: str
    output: str
    id: Any = None
    time: str | None = None
    header: Any = None
    decimal: str | None = None
    encoding: str | None = None
    on_error: str = setting("stop", choices=("stop", "skip"))
    weights: bool = False
    accelerator: Accelerator = field(default_factory=Accelerator)
    trust: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.text.rule()  # which refuses what is wrong
        if Path(self.output).suffix not in {".csv", ".jsonl", ".parquet"}:
            raise SettingError("output", self.output, "must end in .csv, .jsonl or .parquet")
        _check_folder(self.output)
        if self.weights and self.output.endswith(".csv"):
            raise SettingError("weights", "true", "a list for each sequence needs output=NAME.jsonl or NAME.parquet")
        if Path(self.output).exists() and Path(self.output).samefile(self.input):
            raise SettingError("output", self.output, "is the input")

    @property
    def text(self) -> TextSettings:
        """How the cells of the input are read."""
        return TextSettings(self.header, self.decimal, self.encoding)


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
class Streaming(Settings):
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
