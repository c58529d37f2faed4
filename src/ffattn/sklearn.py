"""Estimators for scikit-learn: sequences of any lengths in its pipelines, searches and cross-validation.

    from ffattn.sklearn import SequenceClassifier
    classifier = SequenceClassifier(updates=1000).fit(X, y)   # X: (sample, time), (sample, time, feature), or a list
    classifier.predict(X)

They train as `ffattn.fit` does, on `ffattn.tasks.Arrays`. Torch and Lightning are imported by `fit`.
"""

from ffattn.estimators import require_package

require_package("sklearn")

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, check_consistent_length, check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from ffattn.estimators.distinct import find_distinct
from ffattn.estimators.inputs import require_fitted, sequences_of, targets_of, weights_of
from ffattn.estimators.parameters import ClassifierParameters, EstimatorParameters
from ffattn.estimators.training import class_texts, task_of, train_estimator
from ffattn.files.preparation import REFUSE


class _SequenceEstimator(EstimatorParameters, BaseEstimator):
    """What both estimators share (see `SequenceClassifier`)."""

    def __sklearn_tags__(self) -> Tags:
        """Say what input is taken, for scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = self.missing != REFUSE
        return tags

    def _train(self, sequences: list[np.ndarray], y: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> None:
        """Train on the sequences that differ; each group keeps its share in validation."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        places, counts = find_distinct(sequences, y, weights, seed)
        task = task_of(self, [sequences[place] for place in places], y[places], counts, groups[places])
        self.trained_, self.n_iter_ = train_estimator(self, task, seed)


class SequenceClassifier(ClassifierMixin, ClassifierParameters, _SequenceEstimator):
    """Classify sequences of any lengths.

    Example:
        classifier = SequenceClassifier(hidden=64, random_state=0).fit(X, y)
        probabilities = classifier.predict_proba(X)

    X of all methods is an array (sequence, time) or (sequence, time, feature), or a list of (time,) or (time, feature)
    of any lengths. Of an array with two axes, the columns are the steps, of which `predict` takes as many.

    Args:
        model: `ffattn`, `mean`, `lstm` or `lstm_attention` with their defaults, or settings such as
            `ffattn.models.FFAttention(score="linear")`; or None, for feed-forward attention with sinusoids for the
            positions of steps. In a search `model__hidden` and the like are its settings.
        hidden: Hidden units; the model's own number unless given.
        updates: The most optimiser steps.
        batch_size: Sequences in a batch.
        lr: Learning rate of Adam.
        patience: Stop after so many validations without a smaller error; None for never. The best network is kept.
        validation_share: The share of sequences (of each class) for validation, 0 <= share < 1; where none would be
            left, as for 0, validation is on those of training. Equal sequences are always on the same side.
        missing: What NaN is: `refuse`, `impute` (the mean of training) or `mask` (likewise, with one more input that
            says so).
        device: `auto` (the GPU if there is one), `cpu` or `gpu`.
        random_state: Of weights, order and validation: a number, NumPy's RandomState, or None.
        folder: Where the run is written as `ffattn.fit` does, with checkpoints and curves; None leaves nothing on disk.
            A folder holds one run: the same fit again goes on there, and another is refused.
        verbose: Whether to print progress.
        class_weight: How much sequences of a class count, by class; or `balanced`, for all classes alike.

    Attributes:
        classes_: The classes, sorted.
        n_features_in_: Columns of an array with two axes; otherwise features of a step.
        feature_names_in_: What these are called, if X has tables with names.
        n_iter_: How many updates were made.
        trained_: The best network, as `ffattn.load` returns it.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SequenceClassifier":
        """Train, and return this estimator.

        Args:
            X: Sequences.
            y: A class for each, (sequence,).
            sample_weight: How much each counts, (sequence,), at least 0: 2 is as good as two copies.

        Raises:
            ValueError: Something given cannot be used.
        """
        sequences = sequences_of(self, X, is_fit=True)
        y = targets_of(self, y, is_numeric=False)
        check_consistent_length(sequences, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if None in (texts := class_texts(self.classes_)):
            raise ValueError(f"y: class {self.classes_[texts.index(None)]!r} stands for no value; give it another name")
        weights = weights_of(sample_weight, sequences)
        known = np.unique(codes[weights > 0])
        if len(known) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes; y has 1 class, {self.classes_[known][0]}")
        by_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weights)
        self._train(sequences, y, weights * by_class[codes], codes)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each of `classes_`, (sequence, class).

        Args:
            X: Sequences.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X cannot be used.
        """
        require_fitted(self)
        found = self.trained_.predict_proba(sequences_of(self, X, is_fit=False)).numpy()
        names = list(self.trained_.task.class_names)
        probabilities = np.zeros((len(found), len(self.classes_)))
        for place, name in enumerate(class_texts(self.classes_)):
            if name in names:  # a class of weight 0 is not
                probabilities[:, place] = found[:, names.index(name)]
        return probabilities

    def predict(self, X: Any) -> np.ndarray:
        """Return the most likely class of each sequence, (sequence,).

        Args:
            X: Sequences.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X cannot be used.
        """
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])


class SequenceRegressor(RegressorMixin, _SequenceEstimator):
    """Predict a number, or several, for sequences of any lengths.

    Example:
        regressor = SequenceRegressor(random_state=0).fit(X, y)
        regressor.score(X, y)  # R2

    X and all other parameters and attributes are those of `SequenceClassifier`; there are no classes.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SequenceRegressor":
        """Train, and return this estimator.

        Args:
            X: Sequences.
            y: Numbers, (sequence,) or (sequence, output).
            sample_weight: How much each counts, (sequence,), at least 0: 2 is as good as two copies.

        Raises:
            ValueError: Something given cannot be used.
        """
        sequences = sequences_of(self, X, is_fit=True)
        y = targets_of(self, y, is_numeric=True)
        check_consistent_length(sequences, y)
        self._train(sequences, y, weights_of(sample_weight, sequences), np.zeros(len(y), dtype=np.int64))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return predictions in the unit of y, (sequence,) or (sequence, output).

        Args:
            X: Sequences.

        Raises:
            NotFittedError: `fit` has not been called.
            ValueError: X cannot be used.
        """
        require_fitted(self)
        found = np.asarray(self.trained_.predict(sequences_of(self, X, is_fit=False)))
        return np.asarray(found[:, 0] if found.shape[1] == 1 else found)

    def __sklearn_tags__(self) -> Tags:
        """Say what input is taken, for scikit-learn."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
