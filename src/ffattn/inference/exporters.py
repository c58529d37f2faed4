"""A trained network as a graph of plain operations, with its preparation, for use without this package."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ffattn.errors import CheckpointError
from ffattn.files import Feature, Preparation, Preprocessing, Scaling, Target
from ffattn.inference.checkpoint_files import KEY
from ffattn.inference.columns import preparation_of
from ffattn.inference.trained import TrainedModel
from ffattn.models import Answer, EmbeddedNetwork, FeedForwardNetwork, LastStateNetwork, LSTMAttentionNetwork, Network
from ffattn.nn.masking import clear_padding

TOLERANCE = 1e-4  # of what is exported against the checkpoint (see `largest_difference`)
_SHAPES = ((1, 1), (3, 50), (2, 1), (1, 7), (2, 997))  # (batch, time) of the inputs on which an export is checked
_ROUNDING = 2e-3  # of a column by float32, at most, in its standard deviations
_RANGE = 1e4  # standard deviations that float32 must have room for
_GAPS = 0.2  # the share of their numbers that is missing, where that is allowed

Runner = Callable[[Tensor, Tensor], list[np.ndarray]]  # what runs an exported file on x and lengths


class Example(NamedTuple):
    """Inputs of an `ExportedModel`."""

    x: Float[Tensor, "batch time column"]
    lengths: Int[Tensor, " batch"]


class ExportedModel(nn.Module):
    """What is exported: (x, lengths) as they stand in a file to answers in its units.

    Inputs: x, (batch, time, column), float32, the columns of `Preparation.features` in their order, NaN where a value
    is missing, and categories by their number; and lengths, (batch,), int64, each on 1..time. Outputs: numbers in the
    unit of the targets, or the probability of each class, (batch, output); and attention weights, (batch, time), if
    asked for.

    Args:
        trained: The network.
        weights: Whether attention weights are returned too.

    Raises:
        CheckpointError: The network is of a kind that is not known here, or has no weights.
    """

    def __init__(self, trained: TrainedModel, weights: bool = False) -> None:
        super().__init__()
        preparation = preparation_of(trained.task)
        self.network = trained.network.float().eval()
        self.weights = weights
        self.is_classification = bool(preparation.classes)
        self.preprocessing = Preprocessing(preparation)  # in double precision: means may be large beside their spread
        self.target_scaling = Scaling(preparation.targets)
        if weights and isinstance(_inner(self.network), LastStateNetwork):
            raise CheckpointError(f"weights=true: model={trained.model.name} has no attention")

    def forward(
        self, x: Float[Tensor, "batch time column"], lengths: Int[Tensor, " batch"]
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return answers, or answers and weights."""
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        inputs = self.preprocessing(clear_padding(x, valid).double()).float()
        prediction, weights = _forward_plainly(self.network, inputs, lengths, valid)
        exact = prediction.double()
        answers = (exact.softmax(dim=1) if self.is_classification else self.target_scaling.restore(exact)).float()
        return (answers, weights) if self.weights else answers


def _inner(network: Network) -> Any:
    return network.inner if isinstance(network, EmbeddedNetwork) else network


def _forward_plainly(network: Any, x: Tensor, lengths: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A network's prediction and weights without the package's own operators."""
    if isinstance(network, EmbeddedNetwork):
        return _forward_plainly(network.inner, network.embed(x), lengths, valid)
    x = clear_padding(x, valid)
    if isinstance(network, FeedForwardNetwork):
        states = leaky_relu(network.attention.embed(network.position(x, lengths)), network.attention.slope)
        context, weights = network.attention.pool_states(states, valid)
        return network.answer(context), weights
    states, _ = network.encoder.layer(x)
    if isinstance(network, LastStateNetwork):
        last = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return network.output(states.gather(1, last).squeeze(1)), valid.to(x.dtype)
    scores = (states.tanh() @ network.query).squeeze(-1).masked_fill(~valid, -torch.inf)
    weights = scores.softmax(dim=1)
    return network.output((weights[..., None] * states).sum(dim=1)), weights


def check_kind(network: Network, format: str) -> None:  # noqa: A002
    """Refuse what has no such form.

    Args:
        network: The network.
        format: `onnx` or `torch_export`.

    Raises:
        CheckpointError: The network is of another package, or recurrent, which torch.export takes with one length only.
    """
    inner = _inner(network)
    if isinstance(inner, FeedForwardNetwork):
        return
    if not isinstance(inner, LSTMAttentionNetwork | LastStateNetwork):
        raise CheckpointError(f"{type(inner).__name__}: only this package's models can be exported")
    if format == "torch_export":
        raise CheckpointError("format=torch_export: torch fixes the length of recurrent networks; use format=onnx")


def check_digits(preparation: Preparation) -> None:
    """Refuse columns that an export, whose inputs and outputs are float32, would round to something else.

    Args:
        preparation: Of the network.

    Raises:
        CheckpointError: Names the column.
    """
    float32 = torch.finfo(torch.float32)
    targets = () if preparation.classes else preparation.targets
    columns: tuple[Feature | Target, ...] = (*preparation.numbers, *targets)
    for column in columns:
        in_range = float32.tiny < column.scale < float32.max / _RANGE and abs(column.mean) < float32.max / 2
        if not in_range or abs(column.mean) * float32.eps > _ROUNDING * column.scale:
            raise CheckpointError(
                f"column {column.name}: float32, which an export takes and returns, cannot hold {column.mean:.10g} +- "
                f"{column.scale:.3g}; train on the column less a constant, or in another unit"
            )


def examples(preparation: Preparation) -> Iterator[Example]:
    """Return inputs on which an export is checked: usual and extreme shapes, with gaps where those are taken.

    Args:
        preparation: Of the network.
    """
    generator = torch.Generator().manual_seed(0)
    scaling = Scaling(preparation.numbers)
    for batch, time in _SHAPES:
        numbers = scaling.restore(torch.randn(batch, time, len(preparation.numbers), generator=generator)).float()
        if preparation.missing != "refuse":
            numbers[torch.rand(numbers.shape, generator=generator) < _GAPS] = torch.nan
        symbols = [
            torch.randint(0, count, (batch, time, 1), generator=generator).float() for count in preparation.categories
        ]
        lengths = torch.randint(1, time + 1, (batch,), generator=generator)
        lengths[0] = time
        yield Example(torch.cat([numbers, *symbols], dim=-1), lengths)


def expected(trained: TrainedModel, example: Example) -> Answer:
    """Return what the checkpoint answers, through the package's own operators, in the unit of the targets.

    Args:
        trained: The network.
        example: Inputs.
    """
    preparation = preparation_of(trained.task)
    inputs = Preprocessing(preparation)(example.x.double())
    answer = trained.answer(inputs.float(), example.lengths)
    if preparation.classes:
        return answer._replace(prediction=answer.prediction.double().softmax(dim=1))
    return answer._replace(prediction=Scaling(preparation.targets).restore(answer.prediction.double()))


def to_onnx(model: ExportedModel, path: Path, example: Example, about: str) -> Runner:
    """Write a single ONNX file with free batch and time.

    Args:
        model: What is exported.
        path: The file.
        example: Some inputs.
        about: What is said of the model in the file.

    Returns:
        What runs the file.
    """
    import onnxruntime

    program = torch.onnx.export(
        model, tuple(example), dynamo=True, verbose=False, external_data=False, dynamic_shapes=_dynamic_shapes(),
        input_names=["x", "lengths"], output_names=["prediction", "weights"][: 1 + model.weights],
    )  # fmt: skip
    assert program is not None
    program.model.metadata_props[KEY] = about
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return partial(_run_session, session)


def _run_session(session: Any, x: Tensor, lengths: Tensor) -> list[np.ndarray]:
    return list(session.run(None, {"x": x.numpy(), "lengths": lengths.numpy()}))


def to_torch_export(model: ExportedModel, path: Path, example: Example, about: str) -> Runner:
    """Write a program of torch.export (see `to_onnx`)."""
    program = torch.export.export(model, tuple(example), dynamic_shapes=_dynamic_shapes())
    file = BytesIO()  # on a full disk its own writer would end the process
    torch.export.save(program, file, extra_files={f"{KEY}.json": about})
    file.seek(0)
    with path.open("wb") as target:  # not by its buffer, which an error would hold on to when the file is gone
        shutil.copyfileobj(file, target)
    return partial(_run_module, torch.export.load(path).module())


def _run_module(module: nn.Module, x: Tensor, lengths: Tensor) -> list[np.ndarray]:
    outputs = module(x, lengths)
    return [output.detach().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]


def _dynamic_shapes() -> dict[str, dict[int, Any]]:
    free = torch.export.Dim.DYNAMIC  # a named one may be fixed without a word
    return {"x": {0: free, 1: free}, "lengths": {0: free}}


EXPORTERS: dict[str, Callable[[ExportedModel, Path, Example, str], Runner]] = {
    "onnx": to_onnx,
    "torch_export": to_torch_export,
}


def to_safetensors(contents: dict[str, Any], path: Path) -> None:
    """Write the weights, with what a checkpoint says of itself as a header; `ffattn.load` reads the file.

    Args:
        contents: What `checkpoint.read` returned.
        path: The file.
    """
    from safetensors.torch import save

    kept = "format", "settings", "update", "data", "fingerprint"
    about = {name: contents[KEY][name] for name in kept if name in contents[KEY]}
    state = {name: tensor.contiguous() for name, tensor in contents["state_dict"].items()}
    path.write_bytes(save(state, {KEY: json.dumps(about)}))  # its own writer has errors of its own


def largest_difference(run: Runner, trained: TrainedModel, inputs: Iterator[Example], weights: bool) -> float:
    """Return how far an export is from the checkpoint; NaN where one of them has no answer.

    Answers are compared in standard deviations of the target, relative to the largest if that is above 1, as float32
    has both; so neither the unit nor the mean of a target hides a difference.

    Args:
        run: Runs the exported file.
        trained: The checkpoint.
        inputs: Inputs to try.
        weights: Whether it returns weights too.
    """
    preparation = preparation_of(trained.task)
    differences = []
    for example in inputs:
        answer = expected(trained, example)
        outputs = run(example.x, example.lengths)
        pairs = [tuple(_standardized(preparation, values) for values in (outputs[0], answer.prediction.numpy()))]
        if weights and answer.weights is not None:
            pairs.append((outputs[1], answer.weights.numpy()))
        for found, wanted in pairs:
            differences.append(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max()))
    return float(np.max(differences))


def _standardized(preparation: Preparation, answers: np.ndarray) -> np.ndarray:
    """Answers of float32 in standard deviations of the target; probabilities as they are."""
    exact = torch.from_numpy(answers.astype(np.float32).astype(np.float64))
    return (exact if preparation.classes else Scaling(preparation.targets).standardize(exact)).numpy()
