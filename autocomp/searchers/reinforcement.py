"""Reinforcement learning: an actor-critic that walks the layers and decides on each (AMC, He 2018; TD3, Fujimoto 2018)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from autocomp.problem import Problem
from autocomp.searchers.agent import Agent, Walk, draw_preferences, regret
from autocomp.searchers.base import VectorSearcher, outcome, scaled
from autocomp.space import Vectors
from autocomp.trial import Trial


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several threads, and the other cores belong to the trials."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class ReinforcementSearcher(VectorSearcher):
    """One agent for the whole front: it is told what is preferred and proposes a configuration, layer by layer.

    Every told trial becomes an episode, whoever proposed it. A pruned trial does too: its accuracy is that of a lower
    fidelity, thus too low, but it was stopped because its peers did better at the same fidelity, and the critic learns
    from it where not to go.

    Args:
        problem, seed, trials, start: see `VectorSearcher`.
        noise, last_noise: deviation of the exploration noise on actions in [0, 1], at first and at the end.
        proposals: noisy walks of which one is asked.
        steps: gradient steps after each told trial.
        hidden, rate, tau, mix, batch: of the `Agent`.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        start: int | None = None,
        noise: float = 0.5,
        last_noise: float = 0.05,
        proposals: int = 32,
        steps: int = 12,
        **agent: Any,
    ) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=start)
        self.noise, self.last_noise = noise, last_noise
        self.proposals = proposals
        self.steps = steps
        self.walk = Walk(problem)
        self.agent = Agent(self.walk, len(problem.goals), seed=seed, **agent)

    def propose(self, trial_id: int) -> Vectors | None:
        """Several walks under one preference; the critic and the exact prices choose."""
        noise = self.noise * (self.last_noise / self.noise) ** self.progress
        preference = draw_preferences(self.generator, 1, len(self.problem.goals)).expand(self.proposals, -1)
        with one_thread():
            actions, expected = self.agent.propose(preference, noise, self.generator)
        vectors = self.space.canonical(self.walk.vectors(actions))
        order = self.choose(vectors, expected, preference)
        new = self.fresh(vectors[order])
        return new[0] if len(new) else self.near(vectors[order[0]])

    def choose(self, vectors: Vectors, expected: torch.Tensor, preference: torch.Tensor) -> list[int]:
        """Proposals (``b x k``), the most promising first: exact prices, and the critics' view of what must be measured."""
        exact = scaled(self.problem, self.problem.paper_metrics(vectors)[0])
        known = torch.from_numpy(np.where(np.isnan(exact), expected.numpy(), exact).astype(np.float32))
        return regret(known, preference).argsort(stable=True).tolist()

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Store the episode and take some gradient steps."""
        self.agent.remember(vector, outcome(self.problem, trial))
        with one_thread():
            for _ in range(self.steps if self.walk.length else 0):
                self.agent.improve(self.generator)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return super().state_dict() | {"agent": self.agent.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
