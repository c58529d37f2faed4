"""`hydra/launcher=stacked`: Hydra looks for launchers in the namespace `hydra_plugins`, all of which it imports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class StackedLauncher(Launcher):
    """Trains jobs that differ in seed or optimiser as one model; Hydra's own launcher does what is left of each.

    Args:
        members: The most models in a stack.
    """

    def __init__(self, members: int) -> None:
        self.members = members

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives a launcher.

        Args:
            hydra_context: Composes the jobs.
            task_function: Runs one.
            config: Of the sweep.

        Raises:
            ConfigError: The command does not train, or a stack could have no members.
        """
        from ffattn.config.errors import ConfigError
        from ffattn.config.hydra_access import builtin_plugin

        if "updates" not in config:
            raise ConfigError("hydra/launcher=stacked: trains models together, and this command trains none")
        if self.members < 1:
            raise ConfigError(f"hydra.launcher.members={self.members}: must be at least 1")
        self.config = config
        self.hydra_context = hydra_context
        self.launcher: Launcher = builtin_plugin(Launcher, "BasicLauncher")()
        self.launcher.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run jobs.

        Args:
            job_overrides: Of each job.
            initial_job_idx: Number of the first.
        """
        from ffattn.config.convert import to_settings
        from ffattn.config.schema import Train
        from ffattn.runs.stacked import PlannedRun, train_together

        runs = []
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            config, folder = self._compose(list(overrides), number)
            runs.append(PlannedRun(to_settings(config, Train), folder))
        train_together(runs, self.members)
        return self.launcher.launch(job_overrides, initial_job_idx)

    def _compose(self, overrides: list[str], number: int) -> tuple[DictConfig, Path]:
        """A job's configuration without Hydra's node, and its directory."""
        config = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        HydraConfig.instance().set_config(config)  # for the resolver ${hydra:...}
        folder = Path(config.hydra.sweep.dir, config.hydra.sweep.subdir).absolute()
        return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), folder


@dataclass
class _StackedLauncherConf:
    _target_: str = f"{StackedLauncher.__module__}.{StackedLauncher.__qualname__}"
    members: int = 64  # the most models in a stack


ConfigStore.instance().store("stacked", _StackedLauncherConf, "hydra/launcher", provider="ffattn")
