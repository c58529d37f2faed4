"""`python -m ffattn.export`: a trained network for use without this package.

python -m ffattn.export checkpoint=outputs/mine/checkpoints/best.ckpt output=model.onnx
"""

import json
import logging
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from ffattn.config.command import run_tool

if TYPE_CHECKING:
    from ffattn.config.trained_schema import Export
    from ffattn.inference.checkpoint import TrainedModel


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
    from ffattn.inference.checkpoint import load, read
    from ffattn.inference.exporters import to_safetensors
    from ffattn.system.atomic_files import whole

    trust = trusted_packages(config)
    settings = to_settings(config, Export)
    output = Path(settings.output)
    trained = load(settings.checkpoint, trust)
    with whole(output) as part:
        if settings.format == "safetensors":
            to_safetensors(read(settings.checkpoint), part)
            load(part, trust)
            said = "weights alone; ffattn.load reads them"
        else:
            said = _graph(settings, trained, part)
    print(f"{output}: {output.stat().st_size / 1e3:,.0f} kB, {said}")


def _graph(settings: "Export", trained: "TrainedModel", part: Path) -> str:
    """Export a graph and check it; returns what is said of it."""
    from ffattn.errors import CheckpointError
    from ffattn.inference.exporters import (
        TOLERANCE,
        Plain,
        check_kind,
        examples,
        largest_difference,
        to_onnx,
        to_torch_export,
    )
    from ffattn.inference.on_files import preparation_of

    assert settings.format is not None
    check_kind(trained.network, settings.format)
    plain = Plain(trained, settings.weights)
    preparation = preparation_of(trained.task)
    columns = [feature.name for feature in preparation.features]
    about: dict[str, Any] = {"columns": columns, "targets": [target.name for target in preparation.targets]}
    about |= {"classes": preparation.classes, "categories": {f.name: f.values for f in preparation.symbols}}
    write = to_onnx if settings.format == "onnx" else to_torch_export
    _, example, *_ = examples(preparation)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporters about themselves
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            call = write(plain, part, example, json.dumps(about))
        except (RuntimeError, ValueError, AssertionError) as error:
            line = re.sub(r"\x1b\[\d*m", "", str(error).strip().splitlines()[0])  # torch colours it
            raise CheckpointError(f"model={trained.model.name}: torch cannot export it so: {line}") from error
    difference = largest_difference(call, trained, examples(preparation), settings.weights)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{settings.output}: differs from the checkpoint by {difference:.1e}, more than {TOLERANCE:.0e}; not kept"
        )
    return (
        f"differs from the checkpoint by at most {difference:.0e}; inputs x (batch, time, {len(columns)}) and lengths"
    )


def main() -> None:
    """The command line."""
    run_tool("export", run)


if __name__ == "__main__":
    main()
