"""Checkpoints: tensors and plain values, read without running anything that is in them."""

import importlib.util
import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ffattn.errors import CheckpointError
from ffattn.inference.checkpoint_files import KEY, require_file
from ffattn.inference.metric_names import rename_metrics
from ffattn.models import Model, Network, Sizes, build
from ffattn.settings import from_plain
from ffattn.tasks import GivenTask, Task

FORMAT = 2
SAFETENSORS = ".safetensors"
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


def contents_of(network: Network, about: dict[str, Any]) -> dict[str, Any]:
    """Return what `read` would of a network's checkpoint, without what only training needs.

    Args:
        network: The network.
        about: What is kept under `ffattn`, beside the format.
    """
    state = {f"{_PREFIX}{name}": weight.cpu() for name, weight in network.state_dict().items()}
    return {KEY: {"format": FORMAT} | about, "state_dict": state}


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
