"""`python -m ffattn.stream`: answer a sequence that never ends, from standard input.

tail -f steps.csv | python -m ffattn.stream checkpoint=outputs/mine/checkpoints/best.ckpt every=100
"""

import json
import sys

from omegaconf import DictConfig

from ffattn.config.command import run_tool


def run(config: DictConfig) -> None:
    """Read lines of CSV under a header, and print an answer after every so many steps, and at the end.

    Args:
        config: The command's configuration.

    Raises:
        ConfigError: A setting is wrong.
        CheckpointError: The network cannot answer before the end of a sequence.
        DataError: A line cannot be used.
    """
    from ffattn.config.convert import to_settings, trusted_packages
    from ffattn.config.trained_schema import Streaming
    from ffattn.errors import DataError
    from ffattn.inference.checkpoint_files import require_file

    trust = trusted_packages(config)
    settings = to_settings(config, Streaming)
    require_file(settings.checkpoint)
    from ffattn.inference.online import Running, answers_every, read_lines
    from ffattn.inference.trained import load  # imports torch, which takes seconds: mistakes come first

    running = Running(load(settings.checkpoint, trust))
    columns = tuple(feature.name for feature in running.preparation.features)
    pieces = read_lines(sys.stdin.buffer.read1, columns)  # type: ignore[union-attr]
    for answer in answers_every(running, pieces, settings.every):
        print(json.dumps(answer), flush=True)
    if not running.steps:
        raise DataError("standard input: has no steps; expected lines of CSV under a header")


def main() -> None:
    """The command line."""
    run_tool("stream", run)


if __name__ == "__main__":
    main()
