"""From the columns of a file to a network's inputs and targets, and back.

Training, prediction, streams of steps and exported graphs all use these operations, so they cannot differ.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ffattn.errors import DataError
from ffattn.files.preparation import NUMBER, Feature, Preparation, Target
from ffattn.files.sequences import RawSequences
from ffattn.files.targets import class_names, numbers_of
from ffattn.files.values import parse_numbers

_VALUES = 2**17  # of all features, in double precision at a time


class Scaling(nn.Module):
    """The mean and scale of some columns, in double precision until it is cast (`.float()`, `.to(tensor)`).

    Args:
        columns: Features or targets, one for each number on the last axis.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, columns: Sequence[Feature | Target]) -> None:
        super().__init__()
        for key in ("mean", "scale"):
            numbers = [float(getattr(column, key)) for column in columns]
            self.register_buffer(key, torch.tensor(numbers, dtype=torch.float64))

    def standardize(self, values: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """Return values minus their mean, divided by their scale."""
        return (values - self.mean) / self.scale

    def restore(self, standardized: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """Return values in the unit that they had before `standardize`."""
        return standardized * self.scale + self.mean


class Preprocessing(nn.Module):
    """Make inputs of columns: standardized numbers with gaps filled by the mean, flags of gaps, and categories.

    Args:
        preparation: What is known of the columns.
    """

    def __init__(self, preparation: Preparation) -> None:
        super().__init__()
        numbers = preparation.numbers
        self.num_numbers = len(numbers)
        self.flagged = [place for place, feature in enumerate(numbers) if feature.is_flagged]
        self.scaling = Scaling(numbers)

    def forward(self, columns: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch input"]:
        """Return the inputs, in the order of `Preparation.input_names`.

        Args:
            columns: The columns of `Preparation.features`; NaN where a number is missing, and categories by number.
        """
        numbers = columns[..., : self.num_numbers]
        gaps = numbers.isnan()
        parts = [self.scaling.standardize(numbers).masked_fill(gaps, 0.0)]
        if self.flagged:
            parts.append(gaps[..., self.flagged].to(columns.dtype))
        return torch.cat([*parts, columns[..., self.num_numbers :]], dim=-1)


def prepare_inputs(preparation: Preparation, raw: RawSequences) -> Float[Tensor, "step input"]:
    """Return the inputs of all steps, in single precision; computed in double, some steps at a time.

    Args:
        preparation: What is known of the columns.
        raw: Sequences with these features, in which `ffattn.files.faults` has found nothing.
    """
    preprocessing = Preprocessing(preparation)
    steps = int(raw.offsets[-1])
    inputs = torch.empty(steps, len(preparation.input_names), dtype=torch.float32)
    size = max(1, _VALUES // len(preparation.features))
    for start in range(0, steps, size):
        part = slice(start, start + size)
        columns = [_numeric(feature, raw.features[feature.name][part]) for feature in preparation.features]
        inputs[part] = preprocessing(torch.from_numpy(np.stack(columns, axis=1)))
    return inputs


def _numeric(feature: Feature, values: np.ndarray) -> Float[np.ndarray, " value"]:
    if feature.kind == NUMBER:
        return parse_numbers(values).numbers
    return feature.encode(values).astype(np.float64)


def prepare_targets(preparation: Preparation, raw: RawSequences) -> Tensor:
    """Return targets: (sequence, output) standardized numbers in regression, (sequence,) class numbers otherwise.

    Args:
        preparation: What is known of the columns.
        raw: Sequences with these targets.

    Raises:
        DataError: A target is missing, of another type, or a class that there was not in training.
    """
    if preparation.classes:
        return _class_numbers(preparation, raw)
    columns = [numbers_of(raw, target.name) for target in preparation.targets]
    return Scaling(preparation.targets).standardize(torch.from_numpy(np.stack(columns, axis=1))).float()


def _class_numbers(preparation: Preparation, raw: RawSequences) -> Tensor:
    name = preparation.targets[0].name
    texts = class_names(raw, name)
    places = {text: place for place, text in enumerate(preparation.classes)}
    for sequence, text in enumerate(texts):
        if text not in places:
            raise DataError(
                f"{raw.at(sequence, name)}: class {text} has not occurred in training; split=stratified gives each "
                "part some of each class that has enough sequences"
            )
    return torch.tensor([places[text] for text in texts], dtype=torch.int64)
