"""The actor-critic that learns to walk the layers (TD3, Fujimoto 2018)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autocomp.searchers.arguments import at_least
from autocomp.searchers.learning import layered, step
from autocomp.searchers.walk import Walk
from autocomp.space import Vectors

SUM_SHARE = 0.1  # of the plain weighted sum in the scalarisation, so that no goal is ever ignored
SMOOTHING, SMOOTHING_LIMIT = 0.1, 0.25  # noise on target actions, half of TD3's because actions span [0, 1] and not [-1, 1]
DELAY = 2  # critic updates for each one of the actor, as in TD3


def regret(outcomes: Tensor, preferences: Tensor) -> Tensor:
    """Augmented Chebyshev scalarisation, ``... x m`` twice to ``...``, less is better: its minima cover concave fronts too."""
    weighted = outcomes * preferences
    return weighted.max(-1).values + SUM_SHARE * weighted.sum(-1)


class Agent:
    """TD3 with a critic that predicts every goal, so that one trial teaches all preferences.

    Args:
        walk: the decision process.
        goals: number of objectives (``m``).
        seed: of the initial weights.
        hidden: width of the networks.
        rate: learning rate of Adam.
        tau: share of the online networks that the targets take over at each update.
        mix: share of the trial's real outcome in the critic's target, the rest is bootstrapped; a reward that comes only
            at the end of a walk would need many sweeps to reach its first layer by bootstrapping alone.
        batch: decisions per gradient step.
    """

    def __init__(
        self,
        walk: Walk,
        goals: int,
        *,
        seed: int,
        hidden: int = 64,
        rate: float = 2e-3,
        tau: float = 0.02,
        mix: float = 0.5,
        batch: int = 128,
    ) -> None:
        at_least(1, hidden=hidden, batch=batch)
        at_least(0, rate=rate, tau=tau, mix=mix)
        self.walk, self.tau, self.mix, self.batch = walk, tau, mix, batch
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = layered(walk.width, walk.kinds, hidden)
            self.critics = nn.ModuleList([layered(walk.width + walk.kinds, goals, hidden) for _ in range(2)])
        self.online = nn.ModuleDict({"actor": self.actor, "critics": self.critics})
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), rate, fused=True)
        self.critic_adam = torch.optim.Adam(self.critics.parameters(), rate, fused=True)
        self.actions = torch.zeros(0, walk.length, walk.kinds)
        self.outcomes = torch.zeros(0, goals)
        self.imagined = (self.actions, self.outcomes)
        self.updates = 0

    def remember(self, vector: Vectors, outcome: NDArray[np.float64]) -> None:
        """Add one told trial (``k`` and ``m``) to the replay buffer."""
        self.actions = torch.cat([self.actions, self.walk.actions(vector[None])])
        self.outcomes = torch.cat([self.outcomes, torch.tensor(outcome[None], dtype=torch.float32)])

    def imagine(self, vectors: Vectors, outcomes: NDArray[np.float64]) -> None:
        """Replace the imagined episodes, ``b x k`` vectors and their expected outcomes, ``b x m``."""
        self.imagined = (self.walk.actions(vectors), torch.tensor(outcomes, dtype=torch.float32))

    @torch.no_grad()
    def propose(
        self,
        preferences: Tensor,
        noise: Tensor | float,
        generator: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        """One noisy walk for each preference.

        Args:
            preferences: ``b x m``.
            noise: deviation of the actions, one for all or ``b x 1``.
            generator: draws.

        Returns:
            The actions, ``b x l x a``, and the outcomes that the critics expect, ``b x m``.
        """
        actions = torch.zeros(len(preferences), self.walk.length, self.walk.kinds)
        for layer in range(self.walk.length):
            states = self.walk.state(actions, preferences, torch.full((len(actions),), layer))
            actions[:, layer] = _truncated_normal(self._act(self.actor, states, layer), noise, generator) * self.walk.mask[layer]
        return actions, self._judge(self.critics, states, actions[:, -1])

    @torch.no_grad()
    def redecide(self, actions: Tensor, preferences: Tensor, noise: float, share: Tensor, generator: np.random.Generator) -> Tensor:
        """Walks with some decisions taken anew: part of the way to what the actor would do in that state, and a bit beside.

        One half of the walks decides on single knobs, the other on whole layers, whose knobs pay together.

        Args:
            actions: the walks, ``b x l x a``.
            preferences: ``b x m``.
            noise: deviation of a new decision.
            share: of decisions that are taken anew, ``b x 1 x 1``; at least about one.
            generator: draws.
        """
        aim = torch.sigmoid(self.actor(self.walk.states(actions, preferences)))
        way = torch.from_numpy(generator.random(actions.shape).astype(np.float32))
        knob, layer = generator.random(actions.shape), generator.random((*actions.shape[:2], 1))
        drawn = torch.from_numpy(np.where(generator.random((len(actions), 1, 1)) < 0.5, knob, layer).astype(np.float32))
        anew = _truncated_normal(torch.lerp(actions, aim, way), noise, generator)
        return torch.where(drawn < share, anew, actions) * self.walk.mask

    def improve(self, generator: np.random.Generator) -> None:
        """One gradient step of the critics, every `DELAY` steps one of the actor, on replayed decisions.

        The preferences are drawn anew: what a trial would have been worth to someone else is known (hindsight).
        """
        told, outcomes = self._replayed(generator)
        layer = torch.from_numpy(generator.integers(self.walk.length, size=self.batch))
        preferences = draw_preferences(generator, self.batch, outcomes.shape[1])
        states, actions = self.walk.state(told, preferences, layer), told[torch.arange(self.batch), layer]

        following = (layer + 1).clamp(max=self.walk.length - 1)
        target = self._target(self.walk.state(told, preferences, following), following, generator)
        target = torch.where((layer == following)[:, None], outcomes, self.mix * outcomes + (1 - self.mix) * target)
        pairs = torch.cat([states, actions], dim=1)
        step(self.critic_adam, sum((F.mse_loss(critic(pairs), target) for critic in self.critics), torch.zeros(())))

        self.updates += 1
        if self.updates % DELAY == 0:
            expected = self.critics[0](torch.cat([states, self._act(self.actor, states, layer)], dim=1))
            step(self.actor_adam, regret(expected, preferences).mean())
            for target_weight, weight in zip(self.target.parameters(), self.online.parameters(), strict=True):
                target_weight.lerp_(weight.detach(), self.tau)

    def _replayed(self, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Actions and outcomes of some of all episodes, real and imagined, ``batch x l x a`` and ``batch x m``."""
        told = len(self.actions)
        number = torch.from_numpy(generator.integers(told + len(self.imagined[0]), size=self.batch))
        real, imagined = number[number < told], number[number >= told] - told
        return (
            torch.cat([self.actions[real], self.imagined[0][imagined]]),
            torch.cat([self.outcomes[real], self.imagined[1][imagined]]),
        )

    @torch.no_grad()
    def _target(self, states: Tensor, layer: Tensor, generator: np.random.Generator) -> Tensor:
        """The outcome that the target networks expect from the next decision on, with TD3's smoothing."""
        actions = self._act(self.target["actor"], states, layer)
        noise = torch.from_numpy(generator.normal(0, SMOOTHING, actions.shape).astype(np.float32))
        actions = (actions + noise.clamp(-SMOOTHING_LIMIT, SMOOTHING_LIMIT)).clamp(0, 1) * self.walk.mask[layer]
        return self._judge(self.target["critics"], states, actions)

    def _act(self, actor: nn.Module, states: Tensor, layer: Tensor | int) -> Tensor:
        action: Tensor = torch.sigmoid(actor(states)) * self.walk.mask[layer]
        return action

    @staticmethod
    def _judge(critics: nn.Module, states: Tensor, actions: Tensor) -> Tensor:
        """What the more pessimistic of the twin critics expects, goal by goal."""
        pairs = torch.cat([states, actions], dim=1)
        first, second = (critic(pairs) for critic in critics.children())
        return torch.maximum(first, second)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot that later steps do not touch."""
        parts = {name: getattr(self, name).state_dict() for name in ("online", "target", "actor_adam", "critic_adam")}
        episodes = {"actions": self.actions, "outcomes": self.outcomes, "imagined": list(self.imagined)}
        return copy.deepcopy(parts) | episodes | {"updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name in ("online", "target", "actor_adam", "critic_adam"):
            getattr(self, name).load_state_dict(copy.deepcopy(state[name]))
        self.actions, self.outcomes, self.updates = state["actions"], state["outcomes"], state["updates"]
        self.imagined = (state["imagined"][0], state["imagined"][1])


def draw_preferences(generator: np.random.Generator, n: int, goals: int) -> Tensor:
    """Weights of the goals, evenly over all that sum to 1, ``n x m``."""
    return torch.from_numpy(generator.dirichlet(np.ones(goals), n).astype(np.float32))


def _truncated_normal(mean: Tensor, deviation: Tensor | float, generator: np.random.Generator) -> Tensor:
    """Draws from the normal distribution cut to [0, 1], as in AMC, by its inverse."""
    low, high = torch.special.ndtr(-mean / deviation), torch.special.ndtr((1 - mean) / deviation)
    uniform = torch.from_numpy(generator.random(mean.shape).astype(np.float32))
    deviations: Tensor = torch.special.ndtri(low + uniform * (high - low))
    return (mean + deviation * deviations).clamp(0, 1)
