"""What holds for every task under every rule for lengths."""

import itertools

import pytest
import torch
from helpers import concrete_subclasses
from task_oracles import BASELINES, ORACLES

from ffattn.errors import SettingError
from ffattn.rng.streams import BatchWindow, Split, Stream
from ffattn.tasks import Fixed, GivenTask, Paper, Regression, Task, Variable
from tests.pairwise import pairwise

TASKS = [cls for cls in concrete_subclasses(Task, "ffattn.tasks") if not issubclass(cls, GivenTask)]
SMALLEST = 0  # stands for the task's own smallest length
TIMES = (SMALLEST, 13, 101)
RULES = {
    "fixed": lambda T, smallest: Fixed(T=T),
    "paper": lambda T, smallest: Paper(T=T),
    "uniform": lambda T, smallest: Variable(T=T, min=smallest, distribution="uniform"),
    "log_uniform": lambda T, smallest: Variable(T=T, min=smallest, distribution="log_uniform"),
}
STREAM = Stream(7, Split.TRAIN)
COUNT = 24  # sequences
every_task = pytest.mark.parametrize("cls", TASKS, ids=lambda cls: cls.__name__)


@pytest.fixture
def task(cls, rule, T):
    """The task of a test that is parametrized by `every_batch` or `every_length`."""
    return cls(length=rule(T or cls.min_length, cls.min_length))


def training(task, numbers=range(COUNT), batch=5, stream=STREAM):
    return task.training_batch(stream, batch, torch.tensor(list(numbers)))


def evaluation(task, numbers=range(COUNT), stream=STREAM):
    return task.evaluation_batch(stream, COUNT, torch.tensor(list(numbers)))


every_length = pairwise(cls=TASKS, rule=RULES, T=TIMES)
every_batch = pairwise(cls=TASKS, rule=RULES, T=TIMES, make=[training, evaluation])


def sequences(*batches):
    """Each sequence without its padding: (steps, target, relevant steps), as plain lists."""
    return [
        (steps[:length], y, relevant)
        for batch in batches
        for steps, length, y, relevant in zip(*(tensor.tolist() for tensor in batch), strict=True)
    ]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_every_task_is_found():
    assert len(TASKS) == 5


@every_batch
def test_shapes_and_types(task, make):
    x, lengths, y, relevant = make(task)
    assert x.shape == (COUNT, task.length.padded(lengths), task.num_features)
    assert task.num_features == len(set(task.feature_names))
    assert lengths.shape == (COUNT,)
    assert relevant.shape[0] == COUNT
    assert x.dtype == torch.float32
    assert lengths.dtype == relevant.dtype == torch.int64
    if isinstance(task, Regression):
        assert (y.shape, y.dtype) == ((COUNT, task.num_outputs), torch.float32)
    else:
        assert (y.shape, y.dtype) == ((COUNT,), torch.int64)
        assert 0 <= y.min() <= y.max() < task.num_outputs


@every_batch
def test_the_target_follows_from_the_inputs(task, make):
    oracle = ORACLES[type(task).__name__]
    for steps, y, relevant in sequences(make(task)):
        expected_steps, target = oracle(steps)
        assert sorted(relevant) == expected_steps
        assert (y if isinstance(y, list) else [y]) == pytest.approx([target], abs=1e-6)


@every_batch
def test_lengths_are_in_range_marks_inside_and_padding_is_zero(task, make):
    x, lengths, _, relevant = make(task)
    assert task.length.shortest[1] <= lengths.min() <= lengths.max() <= task.length.longest
    assert ((relevant > 0) & (relevant < lengths[:, None] - 1)).all()
    assert (relevant.sort(dim=1).values.diff() > 0).all(), "two relevant steps in one place"
    assert not x[torch.arange(x.shape[1]) >= lengths[:, None]].any()


@every_batch
def test_the_same_numbers_give_the_same_batch(task, make):
    assert same(make(task), make(task))


@every_batch
def test_sequences_do_not_depend_on_how_they_are_batched(task, make):
    pieces = [make(task, range(start, min(start + 7, COUNT))) for start in range(0, COUNT, 7)]
    assert sequences(*pieces) == sequences(make(task))


@every_length
def test_sequences_do_not_depend_on_their_order(task):
    assert sequences(evaluation(task, reversed(range(COUNT)))) == sequences(evaluation(task))[::-1]


@every_batch
def test_a_window_of_time_is_a_slice_of_the_whole(task, make):
    whole = make(task)
    time = whole.x.shape[1]
    numbers, nominal = torch.arange(COUNT), task.length.nominal(whole.lengths)
    for start, stop in itertools.pairwise((0, 0, 1, time // 3, time // 2, time - 1, time)):
        window = task.sample(BatchWindow(STREAM, numbers, whole.lengths, nominal, start, stop))
        assert same(window, whole._replace(x=whole.x[:, start:stop]))


@every_task
@pytest.mark.parametrize("rule", RULES)
def test_splits_and_seeds_have_no_sequence_in_common(cls, rule):
    task = cls(length=RULES[rule](101, 83))
    streams = [Stream(seed, split) for seed in (0, 1, 2**40) for split in Split]
    sets = [sequences(evaluation(task, stream=stream)) for stream in streams]
    distinct = {str(steps) for sequence_set in sets for steps, _, _ in sequence_set}
    assert len(distinct) == COUNT * len(streams)


@every_task
@pytest.mark.parametrize(
    ("key", "make_length"),
    [
        ("T", lambda shortest: Fixed(T=shortest)),
        ("T", lambda shortest: Paper(T=shortest)),
        ("min", lambda shortest: Variable(T=101, min=shortest)),
    ],
    ids=["fixed", "paper", "variable"],
)
def test_one_step_fewer_than_the_smallest_length_is_refused(cls, key, make_length):
    with pytest.raises(SettingError, match=f"^length.{key}={cls.min_length - 1}: must be at least {cls.min_length}"):
        cls(length=make_length(cls.min_length - 1))


def constants(task):
    """Answers that ignore the input: a grid over the targets' range, or logits that favour or avoid one class."""
    if isinstance(task, Regression):
        return torch.linspace(0, 1, 401)[:, None].expand(-1, task.num_outputs)
    scales = torch.tensor([0.0, -3.0, -1.0, 1.0, 3.0])
    return (scales[:, None, None] * torch.eye(task.num_outputs)).flatten(0, 1)


@every_task
def test_the_baseline_is_what_a_search_over_constants_finds(cls):
    """Within four standard errors of 20,000 sequences; equal logits have none, hence the 1e-6."""
    count = 20_000
    task = cls(length=Fixed(T=cls.min_length))
    y = task.training_batch(STREAM, 0, torch.arange(count)).y
    answers = [constant.expand(count, -1) for constant in constants(task)]
    accuracy = torch.stack([task.is_correct(answer, y).double().mean() for answer in answers]).max().item()
    errors = min((task.error(answer, y) for answer in answers), key=lambda errors: errors.mean())
    p, error = task.baseline()
    assert accuracy == pytest.approx(p, abs=4 * (p * (1 - p) / count) ** 0.5)
    assert errors.mean().item() == pytest.approx(error, abs=4 * errors.std().item() / count**0.5 + 1e-6)


@every_task
def test_the_baseline_is_the_published_one(cls):
    baseline = cls().baseline()
    accuracy, error = BASELINES[cls.__name__]
    assert baseline.accuracy == pytest.approx(accuracy, abs=5e-4)
    assert baseline.error == pytest.approx(error, abs=5e-5)


@every_task
def test_a_perfect_answer_is_correct_and_without_error(cls):
    task = cls(length=Fixed(T=cls.min_length))
    y = training(task).y
    perfect = 100 * torch.nn.functional.one_hot(y, task.num_outputs).float() if y.ndim == 1 else y
    assert task.is_correct(perfect, y).all()
    assert not task.error(perfect, y).any()
    assert not task.is_correct(-perfect - 1, y).any()
