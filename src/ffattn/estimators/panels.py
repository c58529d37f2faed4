"""What the estimators for aeon and sktime share: panels become sequences, and scikit-learn's estimators are trained."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from ffattn.files.preparation import REFUSE

TAGS = {"capability:multivariate": True, "capability:unequal_length": True}
MISSING = "capability:missing_values"
QUICK = {"updates": 2, "hidden": 4, "batch_size": 8}  # parameters for the toolkits' own tests


class PanelEstimator:
    """Trains an estimator of `ffattn.sklearn` on panels.

    Class variables:
        kind: That estimator.

    Attributes:
        estimator_: It, trained.
    """

    kind: ClassVar[type]

    def __init__(self) -> None:
        super().__init__()
        self.set_tags(**{MISSING: self.missing != REFUSE})  # type: ignore[attr-defined]

    def _fit(self, X: Any, y: Any) -> Any:
        self.estimator_ = self.kind(**self.get_params(deep=False)).fit(_steps_first(X), y)  # type: ignore[attr-defined]
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return np.asarray(self.estimator_.predict(_steps_first(X)))


class PanelClassifier(PanelEstimator):
    """Trains a classifier on panels."""

    def _predict_proba(self, X: Any) -> np.ndarray:
        return np.asarray(self.estimator_.predict_proba(_steps_first(X)))


def _steps_first(X: Iterable[Any]) -> list[np.ndarray]:
    """The series of a panel, (time, feature): arrays have time last, and tables in their rows."""
    return [case.to_numpy() if hasattr(case, "to_numpy") else np.asarray(case).T for case in X]
