"""Settings: what a configuration must look like; the one place where types and ranges are checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from autocomp.best import BestRule
from autocomp.budget import Budget
from autocomp.compression import FactorizationSettings, PruningSettings
from autocomp.distill import FineTuning
from autocomp.errors import ConfigError
from autocomp.objective import Objective
from autocomp.profile_plan import ProfilePlan
from autocomp.student import StudentSettings
from autocomp.tracking import Tracking


def require(met: bool, name: str, rule: str, value: object) -> None:
    """Raise a `ConfigError` unless the rule is met."""
    if not met:
        raise ConfigError(f"`{name}` must be {rule}, but is {value}.")


@dataclass
class ObjectiveSettings:
    """One objective without its name; see `autocomp.objective.Objective`."""

    direction: str = "min"
    limit: Any = None
    optimised: bool = True


@dataclass
class EarlyStopping:
    """When a trial is stopped because its peers do better."""

    enabled: bool
    eta: int
    rungs: list[float] | None = None

    def __post_init__(self) -> None:
        require(self.eta >= 2, "early_stopping.eta", "at least 2", self.eta)


@dataclass
class Cluster:
    """Where trials run."""

    address: str | None
    cpus_per_trial: float

    def __post_init__(self) -> None:
        require(self.cpus_per_trial > 0, "cluster.cpus_per_trial", "positive", self.cpus_per_trial)


@dataclass
class Space:
    """Which choices each layer may take."""

    name: str
    rules: list[dict[str, Any]]


@dataclass
class Settings:
    """A whole configuration; keys are explained in search_spaces/config.yaml."""

    task: dict[str, Any] = MISSING
    hw: dict[str, Any] = MISSING
    searcher: dict[str, Any] = MISSING
    space: Space = MISSING
    finetune: FineTuning = field(default_factory=FineTuning)
    pruning: PruningSettings = field(default_factory=PruningSettings)
    factorization: FactorizationSettings = field(default_factory=FactorizationSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    block: int | None = None
    tracking: Tracking = field(default_factory=Tracking)
    cluster: Cluster = MISSING
    early_stopping: EarlyStopping = MISSING
    objectives: dict[str, ObjectiveSettings] = MISSING
    best: BestRule = field(default_factory=BestRule)
    profile: ProfilePlan = field(default_factory=ProfilePlan)
    seed: int = MISSING
    trials: int | None = MISSING
    budget: str | None = None
    warm_start: Any = None
    name: str | None = None
    workers: int | None = None
    out: str | None = None

    def __post_init__(self) -> None:
        require(self.seed >= 0, "seed", "at least 0", self.seed)
        require(self.trials is None or self.trials >= 1, "trials", "at least 1", self.trials)
        if self.budget is not None:
            Budget.parse(self.budget)
        folders = [self.warm_start] if isinstance(self.warm_start, str) else self.warm_start or []
        is_list = isinstance(folders, list) and all(isinstance(folder, str) for folder in folders)
        require(is_list, "warm_start", "the folder of an earlier run, or a list of them", self.warm_start)
        require(self.workers is None or self.workers >= 1, "workers", "at least 1, or null for all", self.workers)
        require(self.block is None or self.block >= 2, "block", "at least 2, or null for ordinary convolutions", self.block)
        for part in ("task", "hw", "searcher"):
            require("_target_" in getattr(self, part), part, "a mapping with a `_target_`", dict(getattr(self, part)))
        goals = [Objective.stated(name, **asdict(goal)) for name, goal in self.objectives.items()]
        require(any(goal.optimised for goal in goals), "objectives", "optimised in at least one metric", [goal.metric for goal in goals])


def schema() -> DictConfig:
    """`Settings` as a typed, empty configuration that others can be merged into."""
    typed: DictConfig = OmegaConf.structured(Settings)
    for part in ("finetune", "pruning", "factorization", "student", "tracking", "best", "profile"):
        OmegaConf.set_readonly(typed[part], False)  # because their classes are frozen
    return typed
