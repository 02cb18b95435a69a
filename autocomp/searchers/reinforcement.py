"""Reinforcement learning: an actor-critic that walks the layers and decides on each (AMC, He 2018; TD3, Fujimoto 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch

from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.agent import Agent, draw_preferences, regret
from autocomp.searchers.arguments import at_least, check
from autocomp.searchers.base import Floats, outcome, scaled
from autocomp.searchers.feasible import spread_sample, uniform_start
from autocomp.searchers.guided import GuidedSearcher, useful_rounds
from autocomp.searchers.knowledge import Forecast, Knowledge
from autocomp.searchers.tempering import pushed
from autocomp.searchers.walk import Walk, within_limits
from autocomp.space import Vectors
from autocomp.trial import Trial

FARTHEST = 4.0  # outcomes beyond count as this, so that the critics' range stays small
LEAST = 0.02  # goals better than this are no reason to prefer them even more
ANEW = np.array([1.0, 2.0, 4.0])  # knobs that are decided anew in a walk, on average
ANCHORS = 8  # trials of the front that refinement begins at, too


class ReinforcementSearcher(GuidedSearcher):
    """One agent for the whole front: it is told what is preferred and proposes a configuration, layer by layer.

    Every told trial becomes an episode, whoever proposed it. A pruned trial does too: its accuracy is that of a lower
    fidelity, thus too low, but it was stopped because its peers did better at the same fidelity, and the critic learns
    from it where not to go.

    With a surrogate the agent lives on imagined episodes: before each ask it walks under many preferences, is told exact prices
    and guessed accuracy, and learns; every episode, real or imagined, teaches all preferences (hindsight). A walk that breaks a limit
    is moved to the nearest that does not (`within_limits`). Then the agent takes some decisions of the walks and episodes with the greatest
    expected gain of hypervolume, and as many of the best real trials, anew, a few of them beside its own mind, again and again; the best
    ones become episodes. The very best, or a real trial of which a change promises more, is refined change by change and asked.

    Args:
        problem, seed, trials, start, surrogate, known: see `GuidedSearcher`.
        noise, last_noise: deviation of the exploration noise on actions in [0, 1], at first and at the end.
        proposals: noisy walks of which one is asked, or that are imagined for each ask; None for 32, or what takes a fraction of a second.
        steps: gradient steps after each told trial, or for each ask with a surrogate; None for 12, or what takes a fraction of a second.
        memory: imagined episodes that are kept; None for what takes a fraction of a second.
        warm_up: gradient steps before the first ask with a surrogate.
        generations, children, parents: times that the best walks are walked again, in how many ways (None for what takes a fraction of a
            second, both), and how many of them, half of which are real trials as soon as there are some.
        rounds: of refinement; None for as many as are useful.
        hidden, rate, tau, mix, batch: of the `Agent`.

    Raises:
        ConfigError: if an argument is unknown, of the wrong type or out of range.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        start: int | None = None,
        surrogate: bool = True,
        known: Knowledge | None = None,
        noise: float = 0.5,
        last_noise: float = 0.05,
        proposals: int | None = None,
        steps: int | None = None,
        memory: int | None = None,
        warm_up: int = 600,
        generations: int | None = None,
        children: int | None = None,
        parents: int = 16,
        rounds: int | None = None,
        **agent: Any,
    ) -> None:
        at_least(1, proposals=proposals, steps=steps, memory=memory, children=children, parents=parents)
        at_least(0, warm_up=warm_up, generations=generations)
        if not 0 < last_noise <= noise:
            raise ConfigError(f"`searcher.last_noise` must be above 0 and at most `searcher.noise`, but they are {last_noise} and {noise}.")
        check(Agent, agent, None, len(problem.goals), seed=seed)
        super().__init__(problem, seed=seed, trials=trials, start=start, surrogate=surrogate, known=known, rounds=rounds)
        self.noise, self.last_noise = noise, last_noise
        self.is_imagining = surrogate
        self.proposals = proposals or (min(512, self.looks // 4) if surrogate else 32)
        self.steps = steps or (self.looks // 64 if surrogate else 12)
        self.memory, self.warm_up = memory or min(1024, self.looks // 2), warm_up
        self.generations, self.parents = useful_rounds(self.looks / 3) if generations is None else generations, parents
        self.children = children or max(self.looks // (3 * max(self.generations, 1)), 1)
        self.walk = Walk(self.known.composition)
        self.agent = Agent(self.walk, len(problem.goals), seed=seed, **agent)
        self.episodes: Forecast | None = None  # imagined ones

    def propose(self, trial_id: int) -> Vectors | None:
        """See `VectorSearcher.propose`."""
        return self.imagine() if self.is_imagining else self._walk_once()

    # on the surrogate

    def look(self) -> Forecast:
        """Learn from imagined episodes and walk once more."""
        if self.episodes is None:
            first = self.known.forecast(spread_sample(self.space, self.generator, self.memory // 2))
            self.episodes = self._learn(Forecast.joined([self._uniform, first]), self.warm_up)
        imagined, walked = self._learn(self.episodes, self.steps), self._walks()
        front = self.known.forecast(self.known.vectors[self.known.archive])
        met = Forecast.joined([walked, front, imagined])
        met = met.rows(met.violations == 0)
        best = self._rewalked(met, front) if len(met) and self.walk.length else met
        latest = Forecast.joined([self._uniform, best.rows(slice(self.parents)), walked, imagined])
        self.episodes = latest.distinct().rows(slice(self.memory))
        return best

    @cached_property
    def _uniform(self) -> Forecast:
        """Configurations that treat all layers alike; the agent never forgets them."""
        return self.known.forecast(uniform_start(self.problem, 64))

    def _learn(self, episodes: Forecast, steps: int) -> Forecast:
        """Take gradient steps on real episodes and on imagined ones, as the surrogate sees them now; these."""
        met = self.known.again(episodes)
        self.agent.imagine(met.vectors, np.minimum(pushed(met), FARTHEST))
        for _ in range(steps if self.walk.length else 0):
            self.agent.improve(self.generator)
        return met

    def anchors(self) -> list[Forecast]:
        """Some trials of the front: what adds to it most may be close to one of them, where no walk leads."""
        archive = self.known.archive
        if len(archive) > ANCHORS:
            archive = self.generator.choice(archive, ANCHORS, replace=False)
        front = self.known.forecast(self.known.vectors[archive])
        return [front.rows(slice(place, place + 1)) for place in range(len(front))]

    def _walks(self) -> Forecast:
        """Walks under many preferences, some of them bold and some careful; what breaks a limit is moved to where it does not."""
        preferences = draw_preferences(self.generator, self.proposals, len(self.problem.goals))
        noise = torch.from_numpy(np.geomspace(self.last_noise, self.noise, self.proposals).astype(np.float32))[:, None]
        actions, _ = self.agent.propose(preferences, noise, self.generator)
        walked = self.known.forecast(self.space.canonical(self.walk.vectors(actions)))
        is_broken = walked.violations > 0
        if not is_broken.any():
            return walked
        mended = within_limits(self.walk, self.problem, walked.vectors[is_broken])
        return Forecast.joined([walked.rows(~is_broken), self.known.forecast(mended)])

    def _rewalked(self, met: Forecast, front: Forecast) -> Forecast:
        """The new walks that promise most, after the agent took some decisions of the best ones anew, again and again.

        Each is walked again under the preference that it suits best, which is known by hindsight. Real trials add nothing to the front
        that they are on, but what adds to it is often close to them: they are walked again beside the best ones, whatever these promise.
        """
        gain = self.known.gain_model()
        together, worth = [met], gain(met.values, met.deviations)
        real = self.parents // 2 if len(front) else 0
        for _ in range(self.generations):
            fittest = self._fittest(Forecast.joined(together), worth).rows(slice(self.parents - real))
            several = Forecast.joined([fittest, front.rows(self.generator.integers(max(len(front), 1), size=real))])
            parents = several.rows(np.resize(np.arange(len(several)), self.children))
            suited = torch.from_numpy((1 / np.clip(parents.values, LEAST, FARTHEST)).astype(np.float32))
            preferences = suited / suited.sum(1, keepdim=True)
            share = torch.from_numpy(self.generator.choice(ANEW, (len(parents), 1, 1)).astype(np.float32)) / self.walk.mask.sum()
            walks = self.walk.actions(parents.vectors)
            anew = self.agent.redecide(walks, preferences, self.last_noise, share, self.generator)
            children, gains = self._gains(self.space.canonical(self.walk.vectors(anew)), gain)
            together.append(children)
            worth = np.concatenate([worth, gains])
        met = Forecast.joined(together)
        is_new = np.array([row.tobytes() not in self.asked for row in met.vectors])
        return self._fittest(met.rows(is_new), worth[is_new])

    def _fittest(self, met: Forecast, worth: Floats) -> Forecast:
        """The `parents` of the greatest expected gain, each once."""
        order = np.argsort(-worth, kind="stable")[: 4 * self.parents]
        return met.rows(order).distinct().rows(slice(self.parents))

    # on trials

    def _walk_once(self) -> Vectors | None:
        """Several walks under one preference; the critic and the exact prices choose."""
        noise = self.noise * (self.last_noise / self.noise) ** self.progress
        preference = draw_preferences(self.generator, 1, len(self.problem.goals)).expand(self.proposals, -1)
        actions, expected = self.agent.propose(preference, noise, self.generator)
        vectors = within_limits(self.walk, self.problem, self.space.canonical(self.walk.vectors(actions)))
        order = self.choose(vectors, expected, preference)
        new = self.fresh(vectors[order])
        return new[0] if len(new) else self.near(vectors[order[0]])

    def choose(self, vectors: Vectors, expected: torch.Tensor, preference: torch.Tensor) -> list[int]:
        """Proposals (``b x k``), the most promising first: exact prices, and the critics' view of what must be measured."""
        exact = scaled(self.problem, self.problem.paper_metrics(vectors)[0])
        known = torch.from_numpy(np.where(np.isnan(exact), expected.numpy(), exact).astype(np.float32))
        return regret(known, preference).argsort(stable=True).tolist()

    def react(self, trial: Trial, vector: Vectors) -> None:
        """Store the episode; without a surrogate, take some gradient steps."""
        self.agent.remember(vector, outcome(self.problem, trial))
        for _ in range(self.steps if self.walk.length and not self.is_imagining else 0):
            self.agent.improve(self.generator)

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        imagined = self.known.vectors[:0] if self.episodes is None else self.episodes.vectors
        return super().state_dict() | {"agent": self.agent.state_dict(), "episodes": torch.from_numpy(imagined.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        imagined = state["episodes"].numpy().copy()
        self.episodes = self.known.forecast(imagined) if len(imagined) else None
