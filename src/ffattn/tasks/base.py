"""What a task is: a rule that makes sequences and targets, and says when an answer is right."""

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ffattn.errors import SettingError
from ffattn.rng.streams import BatchWindow, Split, Stream, split_range
from ffattn.settings import TARGET, Settings, setting
from ffattn.system.lazy import Bool, Float, Int, Tensor, torch
from ffattn.tasks.batch import Batch
from ffattn.tasks.length import Length, Paper


class Baseline(NamedTuple):
    """The constant baseline: what the best constant answer reaches. A model that does no better has learned nothing.

    Attributes:
        accuracy: The largest accuracy of any one constant, 0..1.
        error: The smallest mean error of any one constant (not the same constant, in general).
    """

    accuracy: float
    error: float


@dataclass
class Task(Settings, ABC):
    """Base of all tasks. A new one derives from `Regression` or `Classification`, and states the class variables below.

    Attributes:
        length: How long sequences are.

    Class variables:
        feature_names: One name for each input feature.
        num_outputs: How many numbers a model answers with: regression outputs, or one logit for each class.
        categories: How many different numbers each of the last features may have, where those are categories.
        min_length: The fewest steps with which the task makes sense.
        is_given: Whether sequences are given, a limited number, rather than made (see `tasks.given`).
    """

    length: Length = dataclasses.field(default_factory=Paper)

    feature_names: ClassVar[tuple[str, ...]]
    num_outputs: ClassVar[int]
    categories: ClassVar[tuple[int, ...]] = ()
    min_length: ClassVar[int]
    is_given: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for stated in ("feature_names", "num_outputs", "min_length"):
            if not hasattr(type(self), stated):
                raise SettingError(TARGET, type(self).__name__, f"is a task that does not state {stated}")
        key, shortest = self.length.shortest
        if shortest < self.min_length:
            raise SettingError(f"length.{key}", shortest, f"must be at least {self.min_length} for task={self.name}")

    @property
    def num_features(self) -> int:
        """Size of the input's feature axis."""
        return len(self.feature_names)

    @property
    def is_classification(self) -> bool:
        """Whether the answers are classes, rather than numbers."""
        return False

    def summary(self) -> str:
        """The task and its lengths in a few words."""
        _, shortest = self.length.shortest
        steps = f"{shortest} to {self.length.longest}" if shortest < self.length.longest else f"{shortest}"
        return f"{self.name}, T={self.length.T} ({steps} steps)"

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, where the answers are classes."""
        return tuple(str(number) for number in range(self.num_outputs))

    def size(self, split: Split) -> int | None:
        """How many sequences a split has; None if there is no end to them."""
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold besides the settings: what has been learned from data; plain values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` returned.

        Args:
            state: From a checkpoint.
        """

    @abstractmethod
    def sample(self, window: BatchWindow) -> Batch:
        """Make sequences.

        Args:
            window: Which sequences, how long, which window of time, and the random numbers for them.

        Returns:
            A batch whose x covers the window; lengths, y and relevant_steps always concern the whole sequences. Two
            calls with the same sequences agree wherever their windows overlap.
        """

    @abstractmethod
    def baseline(self) -> Baseline:
        """Return what the best constant answer reaches, from the definition of the task."""

    def baseline_on(self, split: Split) -> Baseline:
        """Return what the constant answer that is best in training reaches on a split.

        Args:
            split: Which one; all are alike where sequences are made.
        """
        return self.baseline()

    @abstractmethod
    def is_correct(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Bool[Tensor, " batch"]:
        """Which answers are right.

        Args:
            prediction: A model's answers.
            y: The targets, as in the batch.
        """

    @abstractmethod
    def error(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Float[Tensor, " batch"]:
        """The error of each answer; training minimises its mean.

        Args:
            prediction: A model's answers.
            y: The targets, as in the batch.
        """

    def example(self, sequences: int = 4, seed: int = 0) -> Batch:
        """A few sequences of the test split, to look at.

        Args:
            sequences: How many.
            seed: Of the stream.
        """
        return self.evaluation_batch(Stream(seed, Split.TEST), sequences, torch.arange(sequences))

    def training_batch(
        self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)
    ) -> Batch:
        """The training batch with this number; its sequences may be a part of it.

        Args:
            stream: Random numbers.
            batch: Number of the batch in the run.
            sequences: Numbers of the sequences.
            part: Which part of time x is to cover, of how many (see `streams.split_range`).

        Returns:
            The batch, on the device of `sequences`.
        """
        return self._batch(stream, sequences, self.length.training(stream, batch, sequences), part)

    def evaluation_batch(
        self, stream: Stream, total: int, sequences: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)
    ) -> Batch:
        """Some sequences of an evaluation set, the same ones however the set is divided into batches.

        Args:
            stream: Random numbers.
            total: How many sequences the set has.
            sequences: Numbers of some of them, 0..total-1.
            part: Which part of time x is to cover, of how many.

        Returns:
            The batch, on the device of `sequences`.
        """
        return self._batch(stream, sequences, self.length.evaluation(stream, total, sequences), part)

    def _batch(self, stream: Stream, sequences: Tensor, lengths: Tensor, part: tuple[int, int]) -> Batch:
        time = self.length.padded(lengths)
        start, stop = split_range(time, *part)
        batch = self.sample(BatchWindow(stream, sequences, lengths, self.length.nominal(lengths), start, stop))
        return batch._replace(lengths=self.length.visible(lengths, time))


@dataclass
class Regression(Task):
    """A task whose answers are numbers: squared error; an answer is right if every output is within the tolerance.

    Attributes:
        tolerance: Largest absolute error of a right answer (exclusive), in units of the target.
    """

    tolerance: float = setting(0.04, above=0)

    def is_correct(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Bool[Tensor, " batch"]:
        """|prediction - y| < tolerance for every output (Raffel & Ellis, section 2.2)."""
        return ((prediction - y).abs() < self.tolerance).all(dim=1)

    def error(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Float[Tensor, " batch"]:
        """Squared error, averaged over the outputs."""
        return (prediction - y).square().mean(dim=1)


@dataclass
class Classification(Task):
    """A task whose answers are classes, all equally frequent unless the subclass says otherwise."""

    @property
    def is_classification(self) -> bool:
        """True: answers are classes."""
        return True

    def is_correct(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Bool[Tensor, " batch"]:
        """The largest logit is the right class."""
        return prediction.argmax(dim=1) == y

    def error(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Float[Tensor, " batch"]:
        """Cross-entropy, in nats."""
        return torch.nn.functional.cross_entropy(prediction, y, reduction="none")

    def baseline(self) -> Baseline:
        """One class for every sequence; equal logits."""
        return Baseline(accuracy=1 / self.num_outputs, error=math.log(self.num_outputs))
