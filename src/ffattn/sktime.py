"""Estimators for sktime, for series of unequal lengths and several variables.

from ffattn.sktime import SequenceClassifier
classifier = SequenceClassifier(updates=1000).fit(X, y)   # X in any of sktime's forms of a panel
"""

from ffattn.estimators import require_package

require_package("sktime")

from typing import Any, ClassVar

from sktime.classification.base import BaseClassifier
from sktime.regression.base import BaseRegressor

from ffattn import sklearn
from ffattn.estimators.panels import QUICK, TAGS, PanelClassifier, PanelEstimator
from ffattn.estimators.parameters import ClassifierParameters, EstimatorParameters

_TAGS = TAGS | {
    "X_inner_mtype": ["df-list", "numpy3D"],
    "capability:categorical_in_X": False,
    "capability:random_state": True,
    "property:randomness": "derandomized",
    "authors": ["The ffattn developers"],
    "maintainers": ["The ffattn developers"],
}
_TEST_PARAMS: list[dict[str, Any]] = [QUICK, {"model": "mean", "updates": 2, "random_state": 0}]


class SequenceClassifier(ClassifierParameters, PanelClassifier, BaseClassifier):
    """Classify series of any lengths and numbers of variables.

    Parameters are those of `ffattn.sklearn.SequenceClassifier`.

    Attributes:
        estimator_: That classifier, trained.

    Examples:
        >>> from ffattn.sktime import SequenceClassifier
        >>> from sktime.datasets import load_japanese_vowels
        >>> X, y = load_japanese_vowels(split="train")
        >>> classifier = SequenceClassifier(updates=2).fit(X, y)
    """

    kind = sklearn.SequenceClassifier
    _tags: ClassVar[dict[str, Any]] = _TAGS | {"capability:predict_proba": True}

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's own tests.

        Args:
            parameter_set: Their name.
        """
        return _TEST_PARAMS


class SequenceRegressor(EstimatorParameters, PanelEstimator, BaseRegressor):
    """Predict a number for series of any lengths and numbers of variables.

    Parameters are those of `ffattn.sklearn.SequenceRegressor`.

    Attributes:
        estimator_: That regressor, trained.

    Examples:
        >>> import numpy as np
        >>> from ffattn.sktime import SequenceRegressor
        >>> from sktime.datasets import load_japanese_vowels
        >>> X, _ = load_japanese_vowels(split="train")
        >>> regressor = SequenceRegressor(updates=2).fit(X, np.arange(len(X)))
    """

    kind = sklearn.SequenceRegressor
    _tags: ClassVar[dict[str, Any]] = _TAGS

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return parameters for sktime's own tests.

        Args:
            parameter_set: Their name.
        """
        return _TEST_PARAMS
