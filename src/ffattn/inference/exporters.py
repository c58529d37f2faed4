"""A trained network as a graph of plain operations, with its preparation, for use without this package."""

import json
from collections.abc import Callable, Iterator, Sequence
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
from ffattn.inference.checkpoint import KEY, TrainedModel
from ffattn.inference.columns import preparation_of
from ffattn.models import Answer, EmbeddedNetwork, FeedForwardNetwork, LastStateNetwork, LSTMAttentionNetwork, Network
from ffattn.nn.masking import clear_padding

TOLERANCE = 1e-4  # of what is exported against the checkpoint, in standard deviations of the target, or probability
_ROUNDING = 1e-5  # that single precision may do to numbers, in their standard deviations
_SPAN = 1e30  # the most that a standard deviation may be, up or down, in single precision
_SHAPES = ((1, 1), (3, 50), (2, 1), (1, 7), (2, 997))  # (batch, time) of the inputs on which an export is checked
_GAPS = 0.2  # the share of their numbers that is missing, where that is allowed

Runner = Callable[[Tensor, Tensor], list[np.ndarray]]  # what runs an exported file on x and lengths


class Example(NamedTuple):
    """Inputs of an `ExportedModel`; x in double precision."""

    x: Float[Tensor, "batch time column"]
    lengths: Int[Tensor, " batch"]


class ExportedModel(nn.Module):
    """What is exported: (x, lengths) as they stand in a file to answers in its units.

    Inputs: x, (batch, time, column), the columns of `Preparation.features` in their order, NaN where a value is
    missing, and categories by their number; and lengths, (batch,), int64, each on 1..time. Outputs: numbers in the
    unit of the targets, or the probability of each class, (batch, output); and attention weights, (batch, time), if
    asked for.
    x and answers are float32, or float64 where float32 has too few digits for the columns (see `precision_of`).

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
        self.input_precision = precision_of(preparation.numbers)
        self.answer_precision = precision_of(preparation.targets)
        self.preprocessing = Preprocessing(preparation).to(self.input_precision)
        self.target_scaling = Scaling(preparation.targets).to(self.answer_precision)
        if weights and isinstance(_inner(self.network), LastStateNetwork):
            raise CheckpointError(f"weights=true: model={trained.model.name} has no attention")

    def forward(
        self, x: Float[Tensor, "batch time column"], lengths: Int[Tensor, " batch"]
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return answers, or answers and weights."""
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        inputs = self.preprocessing(clear_padding(x, valid)).float()
        prediction, weights = _forward_plainly(self.network, inputs, lengths, valid)
        answers = prediction.softmax(dim=1) if self.is_classification else self._restore(prediction)
        return (answers, weights) if self.weights else answers

    def _restore(self, prediction: Float[Tensor, "batch output"]) -> Float[Tensor, "batch output"]:
        return self.target_scaling.restore(prediction.to(self.answer_precision))


def needs_double(column: Feature | Target) -> bool:
    """Return whether single precision has too few digits for the numbers of a column, or too small a range.

    Args:
        column: With their mean and scale.
    """
    rounding = abs(column.mean) * torch.finfo(torch.float32).eps / 2
    return rounding > _ROUNDING * column.scale or not 1 / _SPAN < column.scale < _SPAN


def precision_of(columns: Sequence[Feature | Target]) -> torch.dtype:
    """Return the precision in which columns stand outside of the network: single, unless one of them needs double.

    Args:
        columns: Features or targets.
    """
    return torch.float64 if any(map(needs_double, columns)) else torch.float32


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


def examples(preparation: Preparation) -> Iterator[Example]:
    """Return inputs on which an export is checked: usual and extreme shapes, with gaps where those are taken.

    Numbers are spread as those of training are.

    Args:
        preparation: Of the network.
    """
    generator = torch.Generator().manual_seed(0)
    scaling = Scaling(preparation.numbers)
    for batch, time in _SHAPES:
        numbers = scaling.restore(torch.randn(batch, time, len(preparation.numbers), generator=generator).double())
        if preparation.missing != "refuse":
            numbers[torch.rand(numbers.shape, generator=generator) < _GAPS] = torch.nan
        symbols = [
            torch.randint(0, count, (batch, time, 1), generator=generator).double() for count in preparation.categories
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
    inputs = Preprocessing(preparation)(example.x)
    answer = trained.answer(inputs.float(), example.lengths)
    prediction = answer.prediction.double()
    if preparation.classes:
        return answer._replace(prediction=prediction.softmax(dim=1))
    return answer._replace(prediction=Scaling(preparation.targets).restore(prediction))


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
        model, _in_precision(model, example), dynamo=True, verbose=False, external_data=False,
        dynamic_shapes=_dynamic_shapes(),
        input_names=["x", "lengths"], output_names=["prediction", "weights"][: 1 + model.weights],
    )  # fmt: skip
    assert program is not None
    program.model.metadata_props[KEY] = about
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return partial(_run_session, session, model.input_precision)


def _in_precision(model: ExportedModel, example: Example) -> tuple[Tensor, Tensor]:
    return example.x.to(model.input_precision), example.lengths


def _run_session(session: Any, precision: torch.dtype, x: Tensor, lengths: Tensor) -> list[np.ndarray]:
    return list(session.run(None, {"x": x.to(precision).numpy(), "lengths": lengths.numpy()}))


def to_torch_export(model: ExportedModel, path: Path, example: Example, about: str) -> Runner:
    """Write a program of torch.export (see `to_onnx`)."""
    program = torch.export.export(model, _in_precision(model, example), dynamic_shapes=_dynamic_shapes())
    file = BytesIO()  # on a full disk its own writer would end the process
    torch.export.save(program, file, extra_files={f"{KEY}.json": about})
    path.write_bytes(file.getbuffer())
    return partial(_run_module, torch.export.load(path).module(), model.input_precision)


def _run_module(module: nn.Module, precision: torch.dtype, x: Tensor, lengths: Tensor) -> list[np.ndarray]:
    outputs = module(x.to(precision), lengths)
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

    about = {name: contents[KEY][name] for name in ("format", "settings", "update", "data") if name in contents[KEY]}
    state = {name: tensor.contiguous() for name, tensor in contents["state_dict"].items()}
    path.write_bytes(save(state, {KEY: json.dumps(about)}))  # its own writer has errors of its own


def largest_difference(run: Runner, trained: TrainedModel, inputs: Iterator[Example], weights: bool) -> float:
    """Return how far an export is from the checkpoint: in standard deviations of the targets, or in probability.

    Args:
        run: Runs the exported file.
        trained: The checkpoint.
        inputs: Inputs to try, in double precision.
        weights: Whether it returns weights too.
    """
    preparation = preparation_of(trained.task)
    scaling = Scaling(() if preparation.classes else preparation.targets)
    largest = 0.0
    for example in inputs:
        answer = expected(trained, example)
        outputs = [torch.from_numpy(output).double() for output in run(example.x, example.lengths)]
        pairs = [(outputs[0], answer.prediction)]
        if not preparation.classes:
            pairs = [(scaling.standardize(outputs[0]), scaling.standardize(answer.prediction))]
        if weights and answer.weights is not None:
            pairs.append((outputs[1], answer.weights.double()))
        for found, wanted in pairs:
            differences = (found - wanted).abs().nan_to_num(nan=torch.inf)
            largest = max(largest, float(differences.max()) / max(1.0, float(wanted.abs().max())))
    return largest
