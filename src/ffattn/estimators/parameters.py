"""An estimator's model, and its settings as parameters of scikit-learn: `model__hidden`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ffattn.errors import SettingError

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
