"""A trained network with its task: it answers for raw values and is evaluated, without Hydra or Lightning."""

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffattn.choices import SPLITS
from ffattn.errors import CheckpointError, FFAttnError, reason_of
from ffattn.inference.arrays import column_names, sequences_of
from ffattn.inference.checkpoint import build_network, contents_of, load_weights, read, task_of
from ffattn.inference.checkpoint_files import KEY
from ffattn.inference.columns import preparation_of
from ffattn.inference.evaluation import evaluate
from ffattn.inference.on_files import outputs_of
from ffattn.inference.same_data import check_data
from ffattn.models import Answer, Model, Network
from ffattn.nn.masking import resolve_lengths
from ffattn.rng.streams import Split, Stream
from ffattn.settings import TARGET, from_plain, to_plain
from ffattn.tasks import File, Fixed, GivenTask, Length, Task

Numbers = Tensor | np.ndarray | list  # what torch.as_tensor takes


def _tensor(name: str, numbers: Numbers) -> Tensor:
    try:
        return torch.as_tensor(numbers)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: no array of numbers: {str(error).splitlines()[0]}") from error


@dataclass
class TrainedModel:
    """A trained network with the task that it was trained on.

    Attributes:
        network: The network, in evaluation mode.
        task: The task.
        model: The network's settings.
        seed: Seed of the run.
        update: After how many updates the weights were saved.
        fingerprint: What tells whether given data has changed since training (see `GivenTask.fingerprint`).
    """

    network: Network
    task: Task
    model: Model
    seed: int
    update: int
    fingerprint: dict[str, Any] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what a checkpoint has: weights and plain values, and no object of this package."""
        settings: dict[str, Any] = {"task": to_plain(self.task), "model": to_plain(self.model), "seed": self.seed}
        about = {
            "settings": settings,
            "data": self.task.state(),
            "update": self.update,
            "fingerprint": self.fingerprint,
        }
        trust = tuple(settings[part][TARGET].partition(".")[0] for part in ("task", "model"))
        return model_from, (contents_of(self.network, about), "a pickled model", trust)

    @torch.inference_mode()
    def answer(self, x: Numbers, lengths: Numbers | None = None) -> Answer:
        """The network's own outputs for its own inputs, and attention weights; nothing is scaled (see `predict`).

        Args:
            x: The network's inputs, (batch, time, feature), of any precision: of a file, columns already prepared.
            lengths: How many steps of each are real, (batch,); all if not given.

        Returns:
            Predictions (regression outputs, or logits) and weights (None for a model without attention).

        Raises:
            ValueError: A shape or type does not fit, or a length is not on 1..time.
        """
        parameter = next(self.network.parameters())
        features = self.task.num_features
        x = _tensor("x", x)
        if x.ndim != 3 or x.shape[2] != features or x.is_complex():
            raise ValueError(f"x is {x.dtype} {tuple(x.shape)}; must be real numbers, (batch, time, {features})")
        x = x.to(parameter)
        given = None if lengths is None else _tensor("lengths", lengths).to(parameter.device)
        answer: Answer = self.network(x, resolve_lengths(x, given), return_weights=True)
        return answer

    @property
    def columns(self) -> tuple[str, ...]:
        """What the places on the last axis of `predict`'s x are, for a network that was trained on a file."""
        return column_names(preparation_of(self.task))

    def predict(self, x: Any, lengths: Any = None) -> Tensor | np.ndarray:
        """Answers as `python -m ffattn.predict` gives them.

        Args:
            x: Sequences as they stand in a file, (batch, time, column), with NaN where a number is missing, and as
                objects where columns hold text; or a list with (time, column), or a table, for each sequence; or a list
                of texts (see `columns`). Of a made task its inputs.
            lengths: How many steps of each are real, (batch,); all if not given.

        Returns:
            Of a file: names of classes, (batch,), or numbers in the unit of the targets, (batch, output), in float64.
            Of a made task: class indices, (batch,), or numbers, (batch, output).

        Raises:
            ValueError: A shape or type does not fit, or a length is not on 1..time.
            DataError: A value cannot be used, or an answer is not finite.
        """
        if not isinstance(self.task, File):
            prediction = self.answer(x, lengths).prediction
            return prediction.argmax(dim=1) if self.task.is_classification else prediction
        outputs = self._outputs(x, lengths)
        if self.task.is_classification:
            names: np.ndarray = np.array(self.task.class_names, dtype=object)
            return np.asarray(names[outputs.softmax(dim=1).argmax(dim=1).numpy()])
        return self.task.target_scaling().restore(outputs)

    def predict_proba(self, x: Any, lengths: Any = None) -> Tensor:
        """The probability of each class, (batch, class), in the order of `task.class_names`.

        Args:
            x: As of `predict`.
            lengths: Likewise.

        Raises:
            ValueError: As of `predict`; or the answers are no classes.
        """
        if not self.task.is_classification:
            raise ValueError(f"{self.task.name}: answers are numbers, which have no probabilities; use predict")
        is_file = isinstance(self.task, File)
        return (self._outputs(x, lengths) if is_file else self.answer(x, lengths).prediction).softmax(dim=1)

    def _outputs(self, x: Any, lengths: Any) -> Tensor:
        assert isinstance(self.task, File)
        return outputs_of(self, sequences_of(self.task.preparation, self.task.tokens, x, lengths))

    def evaluate(
        self, T: int | None = None, sequences: int = 1000, length: Length | None = None, split: str = "test"
    ) -> dict[str, float]:
        """Evaluate on fresh sequences.

        Args:
            T: Length of every sequence; if neither this nor `length` is given, as in training.
            sequences: How many; of given data, all.
            length: A rule for lengths, instead of T.
            split: `test` or `val`.

        Returns:
            `accuracy` (0..1), `error` and `dead`, and more where measured (see `evaluation.evaluate`).

        Raises:
            ValueError: An argument is none of these.
            DataError: Given data has changed since training.
        """
        if split not in SPLITS:
            raise ValueError(f"split={split}: must be one of {', '.join(SPLITS)}")
        if not (hasattr(sequences, "__index__") and sequences >= 1):
            raise ValueError(f"sequences={sequences}: must be a whole number, at least 1")
        if isinstance(self.task, GivenTask):
            if T is not None or length is not None:
                raise ValueError("T and length: these sequences have their own lengths")
            part = Split[split.upper()]
            if note := check_data(self.task, self.fingerprint, part):
                warnings.warn(note, stacklevel=2)
            return evaluate(self.network, self.task, Stream(self.seed, part), self.task.size(part))
        length = Fixed(T=T) if T is not None else length or self.task.length
        task = replace(self.task, length=length)
        return evaluate(self.network, task, Stream(self.seed, Split[split.upper()]), sequences)


def load(checkpoint: str | Path, trust: tuple[str, ...] = (), device: str | torch.device = "cpu") -> TrainedModel:
    """Load a trained network; neither Hydra nor Lightning is needed, and no code in the file is run.

    Args:
        checkpoint: A file that training wrote.
        trust: Packages outside ffattn from which the task and the model may be imported, if you know their authors.
        device: Where the network goes.

    Returns:
        The network with its task.

    Raises:
        CheckpointError: The file is no checkpoint, or of another format.
        SettingError: It names a class outside ffattn and the trusted packages.
    """
    return model_from(read(checkpoint), checkpoint, trust, device)


def model_from(
    contents: dict[str, Any],
    checkpoint: str | Path = "a pickled model",
    trust: tuple[str, ...] = (),
    device: str | torch.device = "cpu",
) -> TrainedModel:
    """Return the trained network of a checkpoint that has been read.

    Args:
        contents: What `read` returned.
        checkpoint: Where it came from, for messages.
        trust: As of `load`.
        device: As of `load`.

    Raises:
        CheckpointError: The contents are no network's.
        SettingError: They name a class outside ffattn and the trusted packages.
    """
    about = contents[KEY]
    try:
        task = task_of(about, ("ffattn", *trust))
        model = from_plain(about["settings"]["model"], Model, ("ffattn", *trust))
        seed = int(about["settings"]["seed"])
        with torch.device("meta"):  # which has no memory to fill: sizes are compared first
            load_weights(build_network(model, task), contents, checkpoint, is_meta=True)
    except FFAttnError:
        raise
    except Exception as error:  # what a stranger has put there can be anything
        raise CheckpointError(f"{checkpoint}: a damaged checkpoint ({reason_of(error)})") from error
    network = build_network(model, task)
    network.to(next(iter(contents["state_dict"].values())).dtype)
    load_weights(network, contents, checkpoint)
    network.to(device).eval()
    return TrainedModel(network, task, model, seed, about["update"], about.get("fingerprint") or {})
