"""What a sweep hands to Hydra's sweepers and launchers."""

import pickle

import pytest
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode

from ffattn.config.compose import Loader
from ffattn.config.precomposed import JobCallbacks, PrecomposedLoader, _with_config
from ffattn.config.sweep_plan import Plan
from ffattn.train import COMMAND

# Hydra 1.4 warns of what it would instantiate for a callback of the settings, whoever asks for it.
pytestmark = pytest.mark.filterwarnings("ignore:hydra.utils.instantiate:UserWarning")

EVENTS = []


class Telling(Callback):
    """Notes what it is told."""

    def __init__(self, name, fails=False):
        self.name = name
        self.fails = fails

    def on_multirun_start(self, config, **kwargs):
        EVENTS.append((self.name, "start", kwargs))
        if self.fails:
            raise ValueError("no")

    def on_multirun_end(self, config, **kwargs):
        EVENTS.append((self.name, "end", kwargs))

    def on_job_start(self, config, **kwargs):
        EVENTS.append((self.name, "job start", kwargs))

    def on_job_end(self, config, job_return, **kwargs):
        EVENTS.append((self.name, "job end", job_return.cfg))


@pytest.fixture
def told():
    EVENTS.clear()
    return EVENTS


def callbacks(*settings):
    """The configuration of a sweep with callbacks, and what tells them."""
    named = [f"+hydra.callbacks.{chr(97 + place)}={{{text}}}" for place, text in enumerate(settings)]
    config = Loader("train").compose(named, is_sweep=True)
    return config, JobCallbacks(config)


def settings_of(name, more=""):
    return f"_target_:{Telling.__module__}.Telling,name:{name}{more}"


def test_callbacks_are_told_in_order_and_at_the_end_in_reverse(told):
    config, both = callbacks(settings_of("one"), settings_of("two"))
    both.on_multirun_start(config=config, config_name="train")
    both.on_job_start(config=config, task_function=print)
    both.on_job_end(config=config, job_return=JobReturn(cfg=config))
    both.on_multirun_end(config=config, config_name="train")
    assert [(name, event) for name, event, _ in told] == [
        ("one", "start"),
        ("two", "start"),
        ("one", "job start"),
        ("two", "job start"),
        ("two", "job end"),
        ("one", "job end"),
        ("two", "end"),
        ("one", "end"),
    ]
    assert told[0][2] == {"config_name": "train"}
    assert told[2][2] == {"task_function": print}
    assert told[4][2] is config


def test_a_job_sends_no_configuration_back(told):
    config, none = callbacks()
    job_return = JobReturn(cfg=config, hydra_cfg=config)
    none.on_job_end(config=config, job_return=job_return)
    assert job_return.cfg is job_return.hydra_cfg is None


def test_a_callback_that_fails_is_a_warning(told):
    config, both = callbacks(settings_of("one", ",fails:true"), settings_of("two"))
    with pytest.warns(UserWarning, match=r"^Callback Telling\.on_multirun_start raised ValueError: no$"):
        both.on_multirun_start(config=config, config_name="train")
    assert [name for name, _, _ in told] == ["one", "two"]


@pytest.fixture
def plan(tmp_path):
    return Plan(COMMAND, ["seed=1,2", "T=12", f"hydra.sweep.dir={tmp_path}/sweep"])


def test_a_worker_has_the_configuration_that_came_with_its_job(plan):
    plan.check()
    overrides, job = next(iter(plan.jobs.items()))
    loader = PrecomposedLoader(plan.loader.hydra_loader)
    there, sent = pickle.loads(pickle.dumps((loader, _with_config(overrides, job))))
    assert sent == "seed=1 T=12"
    assert there.load_sweep_config(plan.master, [sent]) == job.config
    assert len(pickle.dumps(loader)) < 1000


def test_the_sweeper_is_told_that_any_job_can_be_composed(plan):
    assert PrecomposedLoader(plan.loader.hydra_loader).load_sweep_config(plan.master, ["seed=1"]) is plan.master


def test_what_else_hydra_asks_a_loader_is_answered_by_its_own(plan):
    own = plan.loader.hydra_loader
    loader = PrecomposedLoader(own)
    assert loader.get_group_options("optim") == own.get_group_options("optim") == ["adam", "sgd"]
    assert loader.list_groups("experiment") == own.list_groups("experiment") == ["paper"]
    assert loader.get_search_path() is own.get_search_path()
    assert loader.get_sources() == own.get_sources()
    assert loader.load_configuration("train", ["T=12"], RunMode.RUN).T == 12
    files = [default.config_path for default in loader.compute_defaults_list("train", [], RunMode.RUN).defaults]
    assert "optim/adam" in files
