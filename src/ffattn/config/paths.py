"""Where conf/ is."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """Return the folder of the YAML files: inside an installed package, or at the top of a checkout.

    Returns:
        An absolute path: Hydra resolves relative ones differently for `python -m`, scripts and wheels.

    Raises:
        FileNotFoundError: The installation is broken.
    """
    for candidate in (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf"):
        if (candidate / "train.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"ffattn's YAML files are neither in {_PACKAGE} nor two folders above; install it again")
