"""Tasks whose sequences are given, rather than made: a limited number, each with a length of its own."""

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ffattn.errors import SettingError
from ffattn.files.preparation import Target
from ffattn.rng.streams import BatchWindow, Split, Stream, split_range
from ffattn.settings import setting
from ffattn.system.lazy import Bool, Float, Int, Tensor, torch
from ffattn.tasks.base import Baseline, Task
from ffattn.tasks.batch import Batch
from ffattn.tasks.length import Length
from ffattn.tasks.weights import SequenceWeights, weighted_order

if TYPE_CHECKING:
    from ffattn.files.preprocessing import Scaling


@dataclass
class Own(Length):
    """The lengths that given sequences have.

    Attributes:
        T: Steps of the longest sequence; 0 until the data has been read.
    """

    T: int = setting(0, low=0)

    @property
    def longest(self) -> int:
        """T."""
        return self.T

    def training(self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Not drawn: the data has them."""
        raise AssertionError("given sequences have their own lengths")


class Sequences(ABC):
    """The sequences of a split.

    Attributes:
        y: Targets, (sequence, output) numbers or (sequence,) class indices.
    """

    y: Tensor

    def __len__(self) -> int:
        """How many sequences there are."""
        return len(self.y)

    @abstractmethod
    def batch(self, places: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)) -> Batch:
        """Some sequences, padded with zeros to the longest of them.

        Args:
            places: Which ones.
            part: Which part of time x is to cover, of how many.
        """

    @abstractmethod
    def order(self, seed: int, number: int) -> Int[np.ndarray, " sequence"]:
        """The order in which training goes through them: a function of the seed and the number of the pass.

        Args:
            seed: Of the run.
            number: Of the pass, from 0.
        """

    @abstractmethod
    def to(self, device: "torch.device | str") -> "Sequences":
        """On a device."""


@dataclass(frozen=True)
class Given(Sequences):
    """Sequences that lie in memory, whole (see `Sequences`).

    Attributes:
        x: The inputs of all steps, one sequence behind the other, (step, feature).
        offsets: Where each sequence starts, and the end, (sequence + 1,).
        y: Targets, (sequence, output) numbers or (sequence,) class indices.
        weights: How much each sequence counts in training; all the same if not given.
    """

    x: Float[Tensor, "step feature"]
    offsets: Int[Tensor, " end"]
    y: Tensor
    weights: SequenceWeights | None = None

    def batch(self, places: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)) -> Batch:
        """Some sequences (see `Sequences.batch`)."""
        starts = self.offsets[places]
        lengths = self.offsets[places + 1] - starts
        first, stop = split_range(int(lengths.max()), *part)
        steps = torch.arange(first, stop, device=self.x.device)
        is_real = steps < lengths[:, None]
        x = self.x[(starts[:, None] + steps).where(is_real, 0)] * is_real[..., None]
        return Batch(x, lengths, self.y[places], lengths.new_zeros(len(places), 0))

    def order(self, seed: int, number: int) -> Int[np.ndarray, " sequence"]:
        """Any order (see `Sequences.order`)."""
        if self.weights is not None:
            return weighted_order(self.weights, seed, number)
        return shuffled(seed, number, (len(self),), 1)

    def to(self, device: "torch.device | str") -> "Given":
        """On a device."""
        return Given(self.x.to(device), self.offsets.to(device), self.y.to(device), self.weights)


@dataclass
class GivenTask(Task):
    """Base of tasks with given sequences.

    Training goes through all of them in an order that depends on the seed and the number of the pass alone: sequence n
    of the stream is the one at place n mod size of pass n // size. So a resumed run goes on where it was, and several
    processes see what one would see.

    Attributes:
        length: Not chosen: sequences have the lengths that they have.
        tolerance: Largest absolute error of a right answer in regression, in standard deviations of training targets.
        embedding: How many numbers a category or a word is embedded into.
    """

    length: Length = field(default_factory=Own)
    tolerance: float = setting(0.1, above=0)
    embedding: int = setting(16, low=1)

    is_given: ClassVar[bool] = True
    min_length: ClassVar[int] = 0  # of a length that is not known yet; empty sequences are refused as they are read

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.length, Own):
            raise SettingError("length", self.length.name, "these sequences have their own lengths; leave length out")

    @abstractmethod
    def given(self, split: Split) -> Sequences:
        """The sequences of a split, prepared.

        Args:
            split: Which one.

        Raises:
            DataError: They cannot be read, or not be prepared.
        """

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """What a person should know of the data before the training starts, in lines with a title."""

    def notes(self) -> list[str]:
        """Return what is odd about the data that has been read, and does not keep it from being used."""
        return []

    def fingerprint(self) -> dict[str, Any]:
        """What tells whether data and split are those of training, in plain values; nothing if that is not known."""
        return {}

    def size(self, split: Split) -> int:
        """How many sequences a split has."""
        return len(self.on("cpu", split))  # which need not be torch's: what is wrong with the data comes first

    def target_scaling(self) -> "Scaling":
        """Return the mean and scale of each target, (output,), by which predictions become numbers in its unit."""
        from ffattn.files.preprocessing import Scaling

        return Scaling([Target(str(output)) for output in range(self.num_outputs)])

    @property
    def target_names(self) -> tuple[str, ...]:
        """What each target is called; one of a class, and of each output in regression."""
        return tuple(str(output) for output in range(1 if self.is_classification else self.num_outputs))

    def sample(self, window: BatchWindow) -> Batch:
        """Not drawn: see `given`."""
        raise AssertionError("sequences are given")

    def training_batch(
        self, stream: Stream, batch: int, sequences: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)
    ) -> Batch:
        """The sequences with these numbers of the endless stream of passes (see `Task.training_batch`)."""
        given = self.on(sequences.device, Split.TRAIN)
        places = [given.order(stream.seed, number // len(given))[number % len(given)] for number in sequences.tolist()]
        return given.batch(torch.tensor(places, device=sequences.device), part)

    def evaluation_batch(
        self, stream: Stream, total: int, sequences: Int[Tensor, " batch"], part: tuple[int, int] = (0, 1)
    ) -> Batch:
        """The sequences with these places in the split (see `Task.evaluation_batch`)."""
        given = self.on(sequences.device, stream.split)
        if total < len(given):  # a part of them is a sample of all: a file may be sorted
            places = shuffled(stream.seed, 0, (len(given),), 1)[:total]
            sequences = torch.from_numpy(np.sort(places)).to(sequences.device)[sequences]
        return given.batch(sequences, part)

    def on(self, device: "torch.device | str", split: Split) -> Sequences:
        """A split on a device, where it stays.

        Args:
            device: Where to.
            split: Which one.
        """
        kept: dict[tuple[str, int], Sequences] = self.__dict__.setdefault("_kept", {})
        key = str(device), int(split)
        if key not in kept:
            kept[key] = self.given(split).to(device)
        return kept[key]

    def __getstate__(self) -> dict[str, object]:
        """Processes read the data themselves."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_kept")}

    def is_correct(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Bool[Tensor, " batch"]:
        """The largest logit is the right class; or every output is within the tolerance."""
        if self.is_classification:
            return prediction.argmax(dim=1) == y
        return ((prediction - y).abs() < self.tolerance).all(dim=1)

    def error(self, prediction: Float[Tensor, "batch output"], y: Tensor) -> Float[Tensor, " batch"]:
        """Cross-entropy in nats; or the squared error of scaled targets, averaged over the outputs."""
        if self.is_classification:
            return torch.nn.functional.cross_entropy(prediction, y, reduction="none")
        return (prediction - y).square().mean(dim=1)

    def baseline(self) -> Baseline:
        """What the best constant answer reaches on the training sequences."""
        return self.baseline_on(Split.TRAIN)

    def baseline_on(self, split: Split) -> Baseline:
        """What the constant answer that is best on the training sequences reaches on a split.

        Args:
            split: Which one.
        """
        training = self.on("cpu", Split.TRAIN).y
        y = self.on("cpu", split).y
        if self.is_classification:
            counts = torch.bincount(training, minlength=self.num_outputs).double()
            error = -(counts / len(training)).log()[y].mean()
            return Baseline(float((y == counts.argmax()).double().mean()), float(error))
        training = training.double()
        y = y.double()
        constants = torch.tensor([_best_constant(values, 2 * self.tolerance) for values in training.T])
        is_right = ((y - constants).abs() < self.tolerance).all(dim=1)
        return Baseline(float(is_right.double().mean()), float((y - training.mean(dim=0)).square().mean()))


def _best_constant(values: Float[Tensor, " sequence"], width: float) -> float:
    """The middle of the numbers that lie within one interval of a width, where those are most."""
    ordered = np.sort(values.numpy())
    stops = np.searchsorted(ordered, ordered + width, side="left")
    start = int((stops - np.arange(len(ordered))).argmax())
    return float(ordered[start] + ordered[stops[start] - 1]) / 2


@functools.lru_cache(maxsize=4)
def shuffled(seed: int, number: int, counts: tuple[int, ...], window: int) -> Int[np.ndarray, " sequence"]:
    """The order of a pass: pieces are shuffled, and then the sequences of so many consecutive ones with each other.

    Args:
        seed: Of the run.
        number: Of the pass.
        counts: How many sequences each piece has.
        window: How many pieces are in memory at a time.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, number]))
    if len(counts) == 1:
        return random.permutation(counts[0])
    starts = np.cumsum((0, *counts))
    pieces = random.permutation(len(counts))
    windows = [pieces[first : first + window] for first in range(0, len(pieces), window)]
    places = [np.concatenate([np.arange(starts[piece], starts[piece + 1]) for piece in some]) for some in windows]
    return np.concatenate([random.permutation(some) for some in places])
