"""`python -m ffattn.export`: write a trained network as a file that works without this package.

python -m ffattn.export checkpoint=outputs/mine/checkpoints/best.ckpt output=model.onnx
"""

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ffattn.config.command import run_tool

if TYPE_CHECKING:
    from ffattn.config.trained_schema import Export
    from ffattn.files import Preparation
    from ffattn.inference.trained import TrainedModel


def run(config: DictConfig) -> None:
    """Write the file, and compare it with the checkpoint; a file that differs is not left behind.

    Args:
        config: The command's configuration.

    Raises:
        ConfigError: A setting is wrong.
        CheckpointError: The file is no checkpoint, or its network cannot be exported, or the export differs from it.
    """
    from ffattn.config.convert import to_settings, trusted_packages
    from ffattn.config.trained_schema import Export
    from ffattn.inference.checkpoint_files import require_file

    trust = trusted_packages(config)
    settings = to_settings(config, Export)
    require_file(settings.checkpoint)
    from ffattn.inference.checkpoint import read
    from ffattn.inference.exporters import to_safetensors
    from ffattn.inference.trained import load  # imports torch, which takes seconds: mistakes come first
    from ffattn.system.atomic_files import atomic_write

    output = Path(settings.output)
    trained = load(settings.checkpoint, trust)
    with atomic_write(output) as part:
        if settings.format == "safetensors":
            to_safetensors(read(settings.checkpoint), part)
            load(part, trust)
            said = "weights alone; ffattn.load reads them"
        else:
            said = _write_graph(settings, trained, part)
    print(f"{output}: {output.stat().st_size / 1e3:,.0f} kB, {said}")


def _write_graph(settings: "Export", trained: "TrainedModel", part: Path) -> str:
    """Export a graph and check it; returns what is said of it."""
    from ffattn.errors import CheckpointError
    from ffattn.inference.columns import preparation_of
    from ffattn.inference.exporters import (
        EXPORTERS,
        TOLERANCE,
        ExportedModel,
        check_digits,
        check_kind,
        examples,
        largest_difference,
    )

    assert settings.format is not None
    check_kind(trained.network, settings.format)
    preparation = preparation_of(trained.task)
    check_digits(preparation)
    model = ExportedModel(trained, settings.weights)
    _, example, *_ = examples(preparation)  # sizes of 1, as the first one has, torch would fix
    with _short_errors_of_torch(trained.model.name):
        exported = EXPORTERS[settings.format](model, part, example, json.dumps(_describe_graph(preparation)))
    difference = largest_difference(exported, trained, examples(preparation), settings.weights)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{settings.output}: differs from the checkpoint by {difference:.1e}, more than {TOLERANCE:.0e}; not kept"
        )
    count = len(preparation.features)
    return f"differs from the checkpoint by at most {difference:.0e}; inputs x (batch, time, {count}) and lengths"


def _describe_graph(preparation: "Preparation") -> dict[str, Any]:
    """What is said in the file of its inputs and outputs."""
    return {
        "columns": [feature.name for feature in preparation.features],
        "targets": [target.name for target in preparation.targets],
        "classes": preparation.classes,
        "categories": {feature.name: feature.values for feature in preparation.symbols},
    }


@contextmanager
def _short_errors_of_torch(model: str) -> Iterator[None]:
    """Silence what torch's exporters say of themselves, and put an error of theirs into one line.

    Raises:
        CheckpointError: torch cannot export the model.
    """
    from ffattn.errors import CheckpointError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            yield
        except (RuntimeError, ValueError, AssertionError) as error:
            line = re.sub(r"\x1b\[\d*m", "", str(error).strip().splitlines()[0])  # torch colours it
            raise CheckpointError(f"model={model}: torch cannot export it so: {line}") from error


def main() -> None:
    """The command line."""
    run_tool("export", run)


if __name__ == "__main__":
    main()
