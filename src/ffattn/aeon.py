"""Estimators for aeon, for series of unequal lengths and several channels.

from ffattn.aeon import SequenceClassifier
classifier = SequenceClassifier(updates=1000).fit(X, y)   # X: (case, channel, time), or a list of (channel, time)
"""

from ffattn.estimators import require_package

require_package("aeon")

from typing import Any, ClassVar

from aeon.classification.base import BaseClassifier
from aeon.regression.base import BaseRegressor

from ffattn import sklearn
from ffattn.estimators.panels import QUICK, TAGS, PanelClassifier, PanelEstimator
from ffattn.estimators.parameters import ClassifierParameters, EstimatorParameters

_TAGS = TAGS | {"X_inner_type": ["np-list", "numpy3D"], "algorithm_type": "deeplearning"}


class SequenceClassifier(ClassifierParameters, PanelClassifier, BaseClassifier):
    """Classify series of any lengths and numbers of channels.

    Parameters are those of `ffattn.sklearn.SequenceClassifier`.

    Attributes:
        estimator_: That classifier, trained.
    """

    kind = sklearn.SequenceClassifier
    _tags: ClassVar[dict[str, Any]] = _TAGS

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return QUICK


class SequenceRegressor(EstimatorParameters, PanelEstimator, BaseRegressor):
    """Predict a number for series of any lengths and numbers of channels.

    Parameters are those of `ffattn.sklearn.SequenceRegressor`.

    Attributes:
        estimator_: That regressor, trained.
    """

    kind = sklearn.SequenceRegressor
    _tags: ClassVar[dict[str, Any]] = _TAGS

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> dict[str, Any]:
        return QUICK
