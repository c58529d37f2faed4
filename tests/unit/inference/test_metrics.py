import math

import pytest
import torch

from ffattn.inference.metric_names import ATTENTION_METRICS
from ffattn.inference.metrics import EvaluationMetrics, attention_metrics, full_precision
from ffattn.models import Answer
from ffattn.tasks import Add, Xor
from ffattn.tasks.batch import Batch

PREDICTION = torch.tensor([[0.50], [0.53], [0.60], [0.90]])
TARGET = torch.tensor([[0.50], [0.50], [0.50], [0.50]])
WEIGHTS = torch.tensor([[0.5, 0.5], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])


def batch_of(y, relevant=0, lengths=None, time=2):
    """A batch with targets, and as many relevant steps of each sequence as asked for, on its first steps."""
    lengths = torch.full((len(y),), time) if lengths is None else lengths
    return Batch(torch.zeros(len(y), time, 1), lengths, y, torch.arange(relevant).expand(len(y), -1))


def scores_of(task, *batches):
    scores = EvaluationMetrics(task)
    for answer, y in batches:
        scores.update(answer, batch_of(y))
    return {name: value.item() for name, value in scores.compute().items()}


def test_scores_of_numbers_by_hand():
    scores = scores_of(Add(tolerance=0.04), (Answer(PREDICTION), TARGET))
    assert scores["accuracy"] == 0.5
    assert scores["error"] == pytest.approx((0.03**2 + 0.1**2 + 0.4**2) / 4)


def test_scores_of_classes_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    scores = scores_of(Xor(), (Answer(logits), torch.tensor([0, 0, 1])))
    assert scores["accuracy"] == pytest.approx(1 / 3)
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
    scores = EvaluationMetrics(Add())
    scores.count += 2**24
    scores.accuracy += 2**24
    scores.update(Answer(TARGET), batch_of(TARGET))
    assert scores.compute()["accuracy"] == 1


def test_a_reset_forgets_everything():
    scores = EvaluationMetrics(Add())
    scores.update(Answer(PREDICTION, WEIGHTS), batch_of(TARGET))
    scores.reset()
    scores.update(Answer(TARGET), batch_of(TARGET))
    assert {name: value.item() for name, value in scores.compute().items()} == {"accuracy": 1, "error": 0, "dead": 0}


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


def softmax(scores, lengths):
    valid = torch.arange(scores.shape[1]) < lengths[:, None]
    return scores.masked_fill(~valid, -torch.inf).softmax(dim=1)


def test_attention_metrics_by_hand():
    """Four steps and one of padding, whose score is the largest; weights 4, 2, 1, 1 eighths; relevant: 0, 1; 3, 0."""
    scores = torch.tensor([[2.0, 1.0, 0.0, 0.0, 9.0]]).mul(math.log(2)).repeat(2, 1)
    lengths, relevant = torch.tensor([4, 4]), torch.tensor([[0, 1], [3, 0]])
    found = attention_metrics(softmax(scores, lengths), scores, lengths, relevant)
    entropy = math.log(2) * (1 / 2 + 2 / 4 + 3 / 8 + 3 / 8)
    assert found["attention_mass"].tolist() == pytest.approx([6 / 8, 5 / 8])
    assert found["lift"].tolist() == pytest.approx([1.5, 1.25])
    assert found["found"].tolist() == [1, 0]
    assert found["effective_steps"].tolist() == pytest.approx([math.exp(entropy)] * 2)
    assert found["margin"].tolist() == pytest.approx([math.log(2), -math.log(2)])


def test_equal_weights_find_nothing_and_have_as_many_steps_as_there_are():
    scores, lengths = torch.zeros(2, 7), torch.tensor([7, 5])
    found = attention_metrics(softmax(scores, lengths), scores, lengths, torch.tensor([[1, 2], [0, 4]]))
    assert found["lift"].tolist() == pytest.approx([1, 1])
    assert found["effective_steps"].tolist() == pytest.approx([7, 5])
    assert found["found"].tolist() == found["margin"].tolist() == [0, 0]


def test_all_weight_on_the_marks_is_two_steps():
    scores = torch.tensor([[1.0, -3.0, 1.0, -2.0]])
    weights = scores.relu().square() / 2
    found = attention_metrics(weights, scores, torch.tensor([4]), torch.tensor([[2, 0]]))
    values = {name: value.item() for name, value in found.items()}
    assert values == pytest.approx({"attention_mass": 1, "lift": 2, "found": 1, "effective_steps": 2, "margin": 3})


def test_no_weight_at_all_is_no_step():
    found = attention_metrics(torch.zeros(1, 3), -torch.ones(1, 3), torch.tensor([3]), torch.tensor([[0]]))
    assert found["effective_steps"].item() == found["attention_mass"].item() == found["lift"].item() == 0


def test_attention_metrics_are_averaged_over_all_sequences_however_they_are_batched():
    torch.manual_seed(0)
    scores, lengths, y = torch.randn(6, 9), torch.tensor([9, 4, 7, 8, 3, 9]), torch.zeros(6, 1)
    answer = Answer(y, softmax(scores, lengths), scores)
    together, apart = EvaluationMetrics(Add()), EvaluationMetrics(Add())
    together.update(answer, batch_of(y, relevant=2, lengths=lengths, time=9))
    for part in (slice(0, 1), slice(1, 6)):
        batch = batch_of(y[part], relevant=2, lengths=lengths[part], time=9)
        apart.update(Answer(*(values[part] for values in answer)), batch)
    means = attention_metrics(answer.weights, scores, lengths, torch.tensor([[0, 1]]).expand(6, -1))
    for name in ATTENTION_METRICS:
        assert together.compute()[name].item() == pytest.approx(means[name].mean().item())
        assert apart.compute()[name].item() == pytest.approx(together.compute()[name].item())


@pytest.mark.parametrize("case", ["no relevant steps", "no scores", "no weights"])
def test_without_relevant_steps_or_attention_there_are_no_attention_metrics(case):
    scores = EvaluationMetrics(Add())
    answer = Answer(TARGET, None if case == "no weights" else WEIGHTS, None if case == "no scores" else WEIGHTS)
    scores.update(answer, batch_of(TARGET, relevant=0 if case == "no relevant steps" else 1))
    assert scores.compute().keys() == {"accuracy", "error", "dead"}
