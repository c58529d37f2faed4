"""What the estimators for scikit-learn and its relatives share."""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("needs scikit-learn: pip install 'ffattn[sklearn]'")
