"""What the published agents AMC and HAQ share: one budget, one episode for each trial, DDPG, noise that decays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from autocomp.errors import ConfigError
from autocomp.objective import PAPER_METRICS
from autocomp.problem import Problem
from autocomp.searchers.arguments import at_least
from autocomp.searchers.base import VectorSearcher
from autocomp.searchers.ddpg import Ddpg
from autocomp.space import Vectors
from autocomp.trial import Trial

Floats = NDArray[np.float64]
NOISE = 0.5  # deviation of the first actions after warm-up
REMEMBERED = 100  # episodes in the replay buffer
TRIES = 128  # configurations around a repeated one that are looked at, at each distance


class PublishedAgent(VectorSearcher):
    """An agent that walks the layers under one budget, once for each trial, and is told one reward at the end.

    The published agents repeat configurations once they are sure of themselves; here a repeated or infeasible one gives way to a new
    one close by within the budget, or, where there is none, to whatever is new. The agent learns from what was really tried.

    Args:
        problem, seed, trials: see `VectorSearcher`.
        budget: share of the teacher's cost that may be left, in (0, 1].
        metric: which cost, a metric that is known on paper.
        warmup: episodes of random actions; a number below 1 is a share of the trials.
        decay: factor on the noise for each episode after warm-up.

    Raises:
        ConfigError: if an argument is out of range, or the space has nothing that the agent decides on.
    """

    knobs: tuple[str, ...] = ()  # names of the knobs that the agent decides on

    def __init__(
        self, problem: Problem, *, seed: int, trials: int, budget: float, metric: str, warmup: float, decay: float, width: int
    ) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=0)
        priced = [name for name in PAPER_METRICS if name in problem.baseline]
        if metric not in priced:
            raise ConfigError(f"`searcher.metric` must be one of {', '.join(priced)}, but is '{metric}'.")
        if not 0 < budget <= 1:
            raise ConfigError(f"`searcher.budget` must be above 0 and at most 1, a share of the teacher's {metric}, but is {budget}.")
        at_least(0, warmup=warmup)
        self.metric, self.most = metric, budget * problem.baseline[metric]
        self.warmup, self.decay = round(warmup * trials) if warmup < 1 else round(warmup), decay
        self.columns = self._columns()
        if not len(self.columns):
            raise ConfigError(
                f"This agent decides on {' and '.join(self.knobs)}, but no layer of the space has a choice of it; widen the space."
            )
        self.agent = Ddpg(width, seed=seed)
        self.count = 0  # of episodes

    def _columns(self) -> Vectors:
        """Entries of a vector that are decided, in the order of the walk."""
        of = [i for i, knob in enumerate(self.space.knobs) if knob.name in self.knobs and len(knob.options) > 1 and not knob.is_of_device]
        return np.array(of, np.int64)

    @abstractmethod
    def walked(self) -> Vectors:
        """One walk of the agent, a vector (``k``) within the budget where the budget can be kept."""

    @abstractmethod
    def described(self, vector: Vectors) -> tuple[Floats, Floats]:
        """The states (``l x w``) and actions (``l``) of the walk that ends in a vector (``k``)."""

    @abstractmethod
    def reward(self, trial: Trial) -> float:
        """What an episode is worth, more is better."""

    def act(self, state: Floats) -> float:
        """The agent's next action in [0, 1], any at all during warm-up, with decaying noise after it."""
        if self.count < self.warmup:
            return float(self.generator.random())
        mean, deviation = self.agent.act(state), NOISE * self.decay ** (self.count - self.warmup)
        bounds = (-mean / deviation, (1 - mean) / deviation)
        drawn = mean + deviation * truncnorm.ppf(self.generator.random(), *bounds)
        return float(np.clip(drawn if np.isfinite(drawn) else mean, 0, 1))

    def cost(self, vectors: Vectors) -> Floats:
        """What ``b x k`` vectors cost, in the budget's metric (``b``)."""
        return self.problem.paper_metrics(self.space.canonical(vectors))[0][self.metric]

    def propose(self, trial_id: int) -> Vectors | None:
        """See `VectorSearcher.propose`."""
        return self.nearest_fresh(self.space.canonical(self.walked()[None])[0])

    def nearest_fresh(self, vector: Vectors) -> Vectors | None:
        """The vector, or one close to it that is new, feasible and within the budget; None if there is none."""
        own = self.fresh(vector[None])
        if len(own):
            return np.asarray(own[0])
        most = self.space.cardinalities - 1
        tightest = vector.copy()
        tightest[self.columns] = most[self.columns]
        for distance in range(1, len(self.columns) + 1):
            tried = np.repeat(np.stack([vector, tightest]), TRIES // 2, axis=0)
            for _ in range(distance):
                column = self.generator.choice(self.columns, TRIES)
                tried[np.arange(TRIES), column] += self.generator.choice([-1, 1], TRIES)
            new = self.fresh(np.clip(tried, 0, most))
            new = new[self.cost(new) <= self.most] if len(new) else new
            if len(new):
                return np.asarray(new[np.abs(new - vector).sum(1).argmin()])
        return None

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Replay the episode: one gradient step for each of its steps, after warm-up."""
        accuracy = trial.metrics.get("accuracy", np.nan)
        if not np.isfinite(accuracy):
            return
        states, actions = self.described(vector)
        self.agent.remember(states, actions, self.reward(trial), REMEMBERED * len(states))
        self.count += 1
        for _ in range(len(states) if self.count > self.warmup else 0):
            self.agent.improve(self.generator)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return super().state_dict() | {"agent": self.agent.state_dict(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        self.count = int(state["count"])


def scaled_to_one(table: Floats) -> Floats:
    """Each column of ``l x f`` from its least to its greatest value; 0 where it does not vary."""
    span = np.ptp(table, axis=0)
    return np.asarray((table - table.min(0)) / np.where(span == 0, 1, span))


def of_layers(problem: Problem, names: tuple[str, ...], *columns: str) -> Floats:
    """Columns of the workload for some layers, ``l x f``."""
    workload = problem.workload
    rows = [workload.names.index(name) for name in names]
    return np.stack([np.broadcast_to(getattr(workload, c), workload.shape)[rows] for c in columns], axis=1).astype(np.float64)
