"""What the estimators for scikit-learn, aeon and sktime share."""

from importlib.util import find_spec


def require_package(name: str) -> None:
    """Refuse to go on without a package, which is in the extra of its name.

    Args:
        name: Of the package.

    Raises:
        ImportError: It is not installed.
    """
    if find_spec(name) is None:
        raise ImportError(f"ffattn.{name} needs {name}: pip install 'ffattn[{name}]'")
