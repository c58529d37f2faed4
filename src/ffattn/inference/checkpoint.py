"""Checkpoints: tensors and plain values, read without running anything that is in them."""

import importlib.util
import json
import warnings
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffattn.choices import SPLITS
from ffattn.errors import CheckpointError, FFAttnError, reason_of
from ffattn.inference.arrays import column_names, sequences_of
from ffattn.inference.checkpoint_files import KEY, require_file
from ffattn.inference.columns import preparation_of
from ffattn.inference.evaluation import evaluate
from ffattn.inference.metric_names import rename_metrics
from ffattn.inference.same_data import check_data
from ffattn.models import Answer, Model, Network, Sizes, build
from ffattn.nn.masking import resolve_lengths
from ffattn.rng.streams import Split, Stream
from ffattn.settings import TARGET, from_plain, to_plain
from ffattn.tasks import File, Fixed, GivenTask, Length, Task

FORMAT = 2
SAFETENSORS = ".safetensors"
Numbers = Tensor | np.ndarray | list  # what torch.as_tensor takes
_FORMATS = 1, FORMAT  # that are read
_MEASURED = "best", "history"  # what of a checkpoint has metrics in it
_PREFIX = "network."
_IS_FOLDER = 0x10  # among the attributes of an entry of an archive
_KINDS = {"settings": dict, "update": int}  # of what a network is made from
_OPTIONAL_KINDS = {"fingerprint": dict}  # of what is not there in early versions


def sizes_of(task: Task) -> Sizes:
    """What a model needs to know of a task."""
    is_given = isinstance(task, GivenTask)
    return Sizes(
        task.num_features,
        task.num_outputs,
        task.is_classification,
        is_standardized=is_given and not task.is_classification,
        categories=task.categories,
        embedding=task.embedding if isinstance(task, GivenTask) else 0,
    )


def build_network(model: Model, task: Task, seed: int = 0) -> Network:
    """Make a model's network for a task, and leave torch's random numbers as they were.

    Args:
        model: The network's settings.
        task: Gives the sizes.
        seed: Of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build(model, sizes_of(task))


def read(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file of any format so far; only tensors and plain values are accepted.

    Args:
        path: The file.

    Returns:
        Its contents, tensors on the CPU. Under `ffattn`: `format`, `settings` (plain), `update`, `seconds`,
        `stopped_because` (None while the run goes on), `best` (its best validation) and `data` (what the task has
        learned from data).

    Raises:
        CheckpointError: The file is missing, damaged, no checkpoint, or of a later format.
    """
    require_file(path)
    if Path(path).suffix == SAFETENSORS:
        return _read_safetensors(Path(path))
    try:
        _require_whole(path)
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler raise anything: /etc/passwd an IndexError
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one") from error
    return _checked(contents, path)


def _require_whole(path: str | Path) -> None:
    """Compare the checksums that torch.save writes, which torch.load does not."""
    with zipfile.ZipFile(path) as archive:
        if (name := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{name} was altered")
        if any(entry.external_attr & _IS_FOLDER for entry in archive.infolist()):
            raise zipfile.BadZipFile("a tensor is called a folder, for which torch would return what memory holds")


def _read_safetensors(path: Path) -> dict[str, Any]:
    """Weights with a header that holds what a checkpoint says of itself, as `ffattn.export` writes them."""
    if importlib.util.find_spec("safetensors") is None:
        raise CheckpointError(f"{path}: needs safetensors: pip install 'ffattn[export]'")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get(KEY, "null"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dictionary
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not a file of weights, or a damaged one") from error
    return _checked({KEY: about, "state_dict": state}, path)


def _checked(contents: Any, path: str | Path) -> dict[str, Any]:
    about = contents.get(KEY) if isinstance(contents, dict) else None
    if not isinstance(about, dict) or "format" not in about or "state_dict" not in contents:
        raise CheckpointError(f"{path}: not a checkpoint of ffattn")
    if not isinstance(about["format"], int | str) or about["format"] not in _FORMATS:
        known = " and ".join(map(str, _FORMATS))
        raise CheckpointError(f"{path}: has format {about['format']}, and this version of ffattn reads formats {known}")
    wrong = [name for name, kind in _KINDS.items() if not isinstance(about.get(name), kind)]
    wrong += [name for name, kind in _OPTIONAL_KINDS.items() if not isinstance(about.get(name, kind()), kind)]
    if wrong or not _are_weights(contents["state_dict"]):
        raise CheckpointError(f"{path}: a damaged checkpoint, without proper {wrong[0] if wrong else 'weights'}")
    return {**contents, KEY: upgrade(about)}


def upgrade(about: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint says of itself in the present format.

    Args:
        about: What a checkpoint of format 1 or 2 has under `ffattn`. It is not changed.
    """
    if about["format"] == FORMAT:
        return about
    names = {part: rename_metrics(about[part]) for part in _MEASURED if isinstance(about.get(part), dict)}
    return about | names | {"format": FORMAT}


def _are_weights(state: Any) -> bool:
    return isinstance(state, dict) and all(isinstance(value, Tensor) for value in state.values()) and bool(state)


def weights_of(contents: dict[str, Any]) -> dict[str, Tensor]:
    """The weights of a network, by their names in it.

    Args:
        contents: What `read` returned.
    """
    state = contents["state_dict"]
    return {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}


def load_weights(network: Network, contents: dict[str, Any], path: str | Path, is_meta: bool = False) -> None:
    """Copy a checkpoint's weights into a network.

    Args:
        network: Of the same sizes as the one that was saved.
        contents: What `read` returned.
        path: Where it came from, for the message.
        is_meta: Whether the network has sizes alone (torch's meta device), so that there is nothing to copy to.

    Raises:
        CheckpointError: Names or shapes of the weights differ.
    """
    try:
        network.load_state_dict(weights_of(contents), assign=is_meta)
    except RuntimeError as error:
        difference = " ".join(str(error).split("\n\t", 1)[-1].split())
        raise CheckpointError(f"{path}: the weights are those of another model: {difference}") from error


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
        about = {"format": FORMAT, "settings": settings, "data": self.task.state()}
        about |= {"update": self.update, "fingerprint": self.fingerprint}
        state = {f"{_PREFIX}{name}": weight.cpu() for name, weight in self.network.state_dict().items()}
        trust = tuple(settings[part][TARGET].partition(".")[0] for part in ("task", "model"))
        return model_from, ({KEY: about, "state_dict": state}, "a pickled model", trust)

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
        from ffattn.inference.on_files import outputs_of  # which uses this class

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


def task_of(about: dict[str, Any], trusted: tuple[str, ...] = ("ffattn",)) -> Task:
    """Return the task of a checkpoint, with what it has learned from data.

    Args:
        about: What the checkpoint has under `ffattn`.
        trusted: Packages from which the task may be imported.

    Raises:
        SettingError: The task is in none of these, or refuses its settings.
        DataError: It does not understand what it has learned.
    """
    task: Task = from_plain(about["settings"]["task"], Task, trusted)
    task.restore(about.get("data", {}))
    return task
