"""The parameters of estimators, among them the settings of a model: `model__hidden`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ffattn.errors import SettingError
from ffattn.files.preparation import REFUSE

if TYPE_CHECKING:
    from ffattn.models import Model

NESTED = "model__"


def model_of(model: Any) -> "Model":
    """Return the settings of a model.

    Args:
        model: Such settings; `ffattn`, `mean`, `lstm` or `lstm_attention`, for their defaults; or None, for the
            feed-forward attention with positions of steps.

    Raises:
        SettingError: It is none of these.
    """
    from ffattn import models

    if model is None:
        return models.FFAttention(position="sinusoid")
    kinds = {kind.name: kind for kind in (models.FFAttention, models.Mean, models.LSTM, models.LSTMAttention)}
    if isinstance(model, models.Model):
        return model
    if not isinstance(model, str) or model not in kinds:
        raise SettingError("model", model, f"must be one of {', '.join(kinds)}, or settings as FFAttention(hidden=64)")
    return kinds[model]()


def nested_params(model: Any) -> dict[str, Any]:
    """Return the settings of a model as parameters; none if it is no model, which `fit` says.

    Args:
        model: As of `model_of`.
    """
    try:
        settings = vars(model_of(model))
    except SettingError:
        return {}
    return {f"{NESTED}{name}": value for name, value in settings.items()}


def with_nested(model: Any, params: dict[str, Any]) -> "Model":
    """Return a model with some settings changed.

    Args:
        model: As of `model_of`.
        params: As `nested_params` returns them.

    Raises:
        ValueError: It has no such setting.
        SettingError: The setting cannot have that value.
    """
    settings = model_of(model)
    known = nested_params(settings)
    if unknown := sorted(params.keys() - known.keys()):
        raise ValueError(f"Invalid parameter {unknown[0]!r}. Valid ones of the model are: {', '.join(known)}.")
    return replace(settings, **{name.removeprefix(NESTED): value for name, value in params.items()})


class EstimatorParameters:
    """Parameters as scikit-learn, aeon and sktime find them. They may be anything until `fit` checks them.

    Args:
        model, hidden, ...: See `ffattn.sklearn.SequenceClassifier`.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        hidden: Any = None,
        updates: Any = 2000,
        batch_size: Any = 32,
        lr: Any = 0.003,
        patience: Any = 20,
        validation_share: Any = 0.15,
        missing: Any = REFUSE,
        device: Any = "auto",
        random_state: Any = None,
        folder: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.model = model
        self.hidden = hidden
        self.updates = updates
        self.batch_size = batch_size
        self.lr = lr
        self.patience = patience
        self.validation_share = validation_share
        self.missing = missing
        self.device = device
        self.random_state = random_state
        self.folder = folder
        self.verbose = verbose
        super().__init__()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters.

        Args:
            deep: Whether to add the settings of the model, as in `model__hidden`.
        """
        params: dict[str, Any] = super().get_params(deep=False)
        return params | (nested_params(self.model) if deep else {})

    def set_params(self, **params: Any) -> Any:
        """Set parameters, and return this estimator.

        Args:
            **params: By name; `model__hidden=64` sets one of the model.

        Raises:
            ValueError: There is no such parameter.
        """
        nested = {name: value for name, value in params.items() if name.startswith(NESTED)}
        super().set_params(**{name: value for name, value in params.items() if name not in nested})
        if nested.items() - nested_params(self.model).items():
            self.model = with_nested(self.model, nested)
        return self


class ClassifierParameters(EstimatorParameters):
    """Parameters of classifiers (see `EstimatorParameters`)."""

    def __init__(
        self,
        model: Any = None,
        *,
        hidden: Any = None,
        updates: Any = 2000,
        batch_size: Any = 32,
        lr: Any = 0.003,
        patience: Any = 20,
        validation_share: Any = 0.15,
        class_weight: Any = None,
        missing: Any = REFUSE,
        device: Any = "auto",
        random_state: Any = None,
        folder: Any = None,
        verbose: Any = 0,
    ) -> None:
        self.class_weight = class_weight
        super().__init__(
            model,
            hidden=hidden,
            updates=updates,
            batch_size=batch_size,
            lr=lr,
            patience=patience,
            validation_share=validation_share,
            missing=missing,
            device=device,
            random_state=random_state,
            folder=folder,
            verbose=verbose,
        )
