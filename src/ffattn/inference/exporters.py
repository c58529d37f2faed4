"""A trained network as a graph of plain operations, with its preparation, for use without this package."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ffattn.errors import CheckpointError
from ffattn.files import Preparation
from ffattn.inference.checkpoint import KEY, TrainedModel
from ffattn.inference.on_files import preparation_of
from ffattn.models import EmbeddedNetwork, FeedForwardNetwork, LastStateNetwork, LSTMAttentionNetwork, Network
from ffattn.nn.masking import clear_padding

TOLERANCE = 1e-4  # of what is exported against the checkpoint, relative to the largest answer


class Plain(nn.Module):
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

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, trained: TrainedModel, weights: bool = False) -> None:
        super().__init__()
        self.network, self.weights = trained.network.float().eval(), weights
        preparation = preparation_of(trained.task)
        self.flagged = [place for place, feature in enumerate(preparation.numbers) if feature.is_flagged]
        self.num_numbers, self.is_classification = len(preparation.numbers), bool(preparation.classes)
        for name, columns in (("", preparation.numbers), ("target_", preparation.targets)):
            for key in ("mean", "scale"):
                self.register_buffer(f"{name}{key}", torch.tensor([float(getattr(column, key)) for column in columns]))
        if weights and isinstance(_inner(self.network), LastStateNetwork):
            raise CheckpointError(f"weights=true: model={trained.model.name} has no attention")

    def forward(
        self, x: Float[Tensor, "batch time column"], lengths: Int[Tensor, " batch"]
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Answers, or answers and weights."""
        valid = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        prediction, weights = _answer(self.network, self._prepared(clear_padding(x, valid)), lengths, valid)
        if self.is_classification:
            prediction = prediction.softmax(dim=1)
        else:
            prediction = prediction * self.target_scale + self.target_mean
        return (prediction, weights) if self.weights else prediction

    def _prepared(self, x: Tensor) -> Tensor:
        numbers = x[..., : self.num_numbers]
        gaps = numbers.isnan()
        scaled = ((numbers - self.mean) / self.scale).masked_fill(gaps, 0.0)
        parts = [scaled, x[..., self.num_numbers :]]
        if self.flagged:
            parts.insert(1, gaps[..., self.flagged].to(x.dtype))
        return torch.cat(parts, dim=-1)


def _inner(network: Network) -> Any:
    return network.inner if isinstance(network, EmbeddedNetwork) else network


def _answer(network: Any, x: Tensor, lengths: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A network's prediction and weights without the package's own operators."""
    if isinstance(network, EmbeddedNetwork):
        return _answer(network.inner, network.embed(x), lengths, valid)
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


def examples(preparation: Preparation) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs on which an export is checked: usual and extreme shapes, with gaps where those are taken.

    Args:
        preparation: Of the network.
    """
    generator = torch.Generator().manual_seed(0)
    for batch, time in ((1, 1), (3, 50), (2, 1), (1, 7), (2, 997)):
        numbers = torch.randn(batch, time, len(preparation.numbers), generator=generator)
        mean, scale = (torch.tensor([getattr(f, key) for f in preparation.numbers]) for key in ("mean", "scale"))
        numbers = numbers * scale + mean
        if preparation.missing != "refuse":
            numbers[torch.rand(numbers.shape, generator=generator) < 0.2] = torch.nan
        symbols = [
            torch.randint(0, count, (batch, time, 1), generator=generator).float() for count in preparation.categories
        ]
        lengths = torch.randint(1, time + 1, (batch,), generator=generator)
        lengths[0] = time
        yield torch.cat([numbers.float(), *symbols], dim=-1), lengths


def expected(trained: TrainedModel, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
    """What the checkpoint says, through the package's own operators.

    Args:
        trained: The network.
        x: As for `Plain`.
        lengths: Likewise.
    """
    preparation, count = preparation_of(trained.task), len(preparation_of(trained.task).numbers)
    numbers = x[..., :count].double()
    mean, scale = (torch.tensor([getattr(f, key) for f in preparation.numbers]) for key in ("mean", "scale"))
    flags = [i for i, feature in enumerate(preparation.numbers) if feature.is_flagged]
    prepared = torch.cat(
        [((numbers - mean) / scale).nan_to_num(0.0), numbers[..., flags].isnan().double(), x[..., count:]], dim=-1
    )
    answer = trained.answer(prepared.float(), lengths)
    if preparation.classes:
        return answer.prediction.softmax(dim=1), answer.weights
    targets = preparation.targets
    target_mean, target_scale = (torch.tensor([getattr(t, key) for t in targets]) for key in ("mean", "scale"))
    return answer.prediction * target_scale + target_mean, answer.weights


def to_onnx(plain: Plain, path: Path, example: tuple[Tensor, Tensor], about: str) -> Callable[..., list[np.ndarray]]:
    """Write a single ONNX file with free batch and time.

    Args:
        plain: What is exported.
        path: The file.
        example: Some inputs.
        about: What is said of the model in the file.

    Returns:
        What runs the file.
    """
    import onnxruntime

    program = torch.onnx.export(
        plain, example, dynamo=True, verbose=False, external_data=False, dynamic_shapes=_dynamic(),
        input_names=["x", "lengths"], output_names=["prediction", "weights"][: 1 + plain.weights],
    )  # fmt: skip
    assert program is not None
    program.model.metadata_props[KEY] = about
    program.save(str(path), external_data=False)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x, lengths: list(session.run(None, {"x": x.numpy(), "lengths": lengths.numpy()}))


def to_torch_export(
    plain: Plain, path: Path, example: tuple[Tensor, Tensor], about: str
) -> Callable[..., list[np.ndarray]]:
    """Write a program of torch.export (see `to_onnx`)."""
    program = torch.export.export(plain, example, dynamic_shapes=_dynamic())
    file = BytesIO()  # on a full disk its own writer would end the process
    torch.export.save(program, file, extra_files={f"{KEY}.json": about})
    path.write_bytes(file.getbuffer())
    run = torch.export.load(path).module()

    def call(x: Tensor, lengths: Tensor) -> list[np.ndarray]:
        outputs = run(x, lengths)
        return [output.detach().numpy() for output in (outputs if isinstance(outputs, tuple) else (outputs,))]

    return call


def _dynamic() -> dict[str, dict[int, Any]]:
    free = torch.export.Dim.DYNAMIC  # a named one may be fixed without a word
    return {"x": {0: free, 1: free}, "lengths": {0: free}}


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


def largest_difference(
    run: Callable[..., list[np.ndarray]], trained: TrainedModel, inputs: Iterator[tuple[Tensor, Tensor]], weights: bool
) -> float:
    """How far an export is from the checkpoint, relative to the largest answer.

    Args:
        run: Runs the exported file.
        trained: The checkpoint.
        inputs: Inputs to try.
        weights: Whether it returns weights too.
    """
    largest = 0.0
    for x, lengths in inputs:
        prediction, own = expected(trained, x, lengths)
        outputs = run(x, lengths)
        pairs = [(outputs[0], prediction.numpy())]
        if weights and own is not None:
            pairs.append((outputs[1], own.numpy()))
        for found, wanted in pairs:
            largest = max(largest, float(np.abs(found - wanted).max() / max(1.0, np.abs(wanted).max())))
    return largest
