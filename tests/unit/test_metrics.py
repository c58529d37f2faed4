import pytest
import torch

from ffattn.metrics import Scores, full_precision
from ffattn.models import Answer
from ffattn.tasks import Add, Xor

PREDICTION = torch.tensor([[0.50], [0.53], [0.60], [0.90]])
TARGET = torch.tensor([[0.50], [0.50], [0.50], [0.50]])
WEIGHTS = torch.tensor([[0.5, 0.5], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])


def scores_of(task, *batches):
    scores = Scores(task)
    for answer, y in batches:
        scores.update(answer, y)
    return {name: value.item() for name, value in scores.compute().items()}


def test_scores_of_numbers_by_hand():
    scores = scores_of(Add(tolerance=0.04), (Answer(PREDICTION), TARGET))
    assert scores["solved"] == 0.5
    assert scores["error"] == pytest.approx((0.03**2 + 0.1**2 + 0.4**2) / 4)


def test_scores_of_classes_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    scores = scores_of(Xor(), (Answer(logits), torch.tensor([0, 0, 1])))
    assert scores["solved"] == pytest.approx(1 / 3)
    errors = [torch.tensor(loss).exp().log1p().item() for loss in (-2.0, 2.0, 0.0)]
    assert scores["error"] == pytest.approx(sum(errors) / 3)


def test_rows_without_any_weight_are_counted_as_dead():
    assert scores_of(Add(), (Answer(PREDICTION, WEIGHTS), TARGET))["dead"] == 0.5


def test_a_model_without_weights_has_no_dead_rows():
    assert scores_of(Add(), (Answer(PREDICTION), TARGET))["dead"] == 0


@pytest.mark.parametrize("sizes", [[4], [1, 3], [2, 2], [1, 1, 1, 1]])
def test_scores_do_not_depend_on_the_batches(sizes):
    parts = (values.split(sizes) for values in (PREDICTION, WEIGHTS, TARGET))
    batches = [(Answer(prediction, weights), y) for prediction, weights, y in zip(*parts, strict=True)]
    assert scores_of(Add(), *batches) == pytest.approx(scores_of(Add(), (Answer(PREDICTION, WEIGHTS), TARGET)))


def test_counts_of_many_batches_stay_exact():
    scores = Scores(Add())
    scores.count += 2**24
    scores.solved += 2**24
    scores.update(Answer(TARGET), TARGET)
    assert scores.compute()["solved"] == 1


def test_a_reset_forgets_everything():
    scores = Scores(Add())
    scores.update(Answer(PREDICTION, WEIGHTS), TARGET)
    scores.reset()
    scores.update(Answer(TARGET), TARGET)
    assert {name: value.item() for name, value in scores.compute().items()} == {"solved": 1, "error": 0, "dead": 0}


def test_low_precision_predictions_are_judged_in_float32():
    y = torch.tensor([[0.501]])
    prediction = torch.tensor([[0.5]], dtype=torch.bfloat16)
    assert scores_of(Add(), (Answer(prediction), y))["error"] == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        *[(t, t) for t in (torch.float32, torch.float64)],
    ],
)
def test_predictions_are_raised_to_float32_at_least(given, kept):
    assert full_precision(torch.zeros(1, dtype=given)).dtype == kept
