"""DDPG (Lillicrap 2016) with one action in [0, 1], as AMC and HAQ use it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from autocomp.searchers.learning import layered, step

HIDDEN = 300
ACTOR_RATE, CRITIC_RATE = 1e-4, 1e-3
TAU, BATCH = 0.01, 64
MOVING = 0.5  # share of a batch's mean reward that the baseline takes over

Floats = NDArray[np.float64]


class Ddpg:
    """An actor and a critic with two layers of 300 units each; no discount, rewards count from their moving average on.

    Args:
        width: of a state (``w``).
        seed: of the initial weights.
    """

    def __init__(self, width: int, *, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.online = nn.ModuleDict({"actor": layered(width, 1, HIDDEN), "critic": layered(width + 1, 1, HIDDEN)})
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.actor_adam = torch.optim.Adam(self.online["actor"].parameters(), ACTOR_RATE)
        self.critic_adam = torch.optim.Adam(self.online["critic"].parameters(), CRITIC_RATE)
        self.buffer = torch.zeros(0, 2 * width + 3)  # state, action, reward, next state, whether it is the last
        self.width = width
        self.baseline: float | None = None

    @torch.no_grad()
    def act(self, state: Floats) -> float:
        """What the actor does in a state (``w``), without noise."""
        return float(torch.sigmoid(self.online["actor"](torch.tensor(state, dtype=torch.float32))))

    def remember(self, states: Floats, actions: Floats, reward: float, most: int) -> None:
        """Add an episode of ``l x w`` states and ``l`` actions, whose reward counts for each step; the latest ``most`` steps are kept."""
        following = np.concatenate([states[1:], states[-1:]])
        last = np.arange(len(states)) == len(states) - 1
        rows = np.column_stack([states, actions, np.full(len(states), reward), following, last])
        self.buffer = torch.cat([self.buffer, torch.tensor(rows, dtype=torch.float32)])[-most:]

    def improve(self, generator: np.random.Generator) -> None:
        """One gradient step of critic and actor."""
        batch = self.buffer[torch.from_numpy(generator.integers(len(self.buffer), size=BATCH))]
        states, actions, rewards, following, last = torch.split(batch, [self.width, 1, 1, self.width, 1], dim=1)
        mean = float(rewards.mean())
        self.baseline = mean if self.baseline is None else self.baseline + MOVING * (mean - self.baseline)
        with torch.no_grad():
            later = _value(self.target, following, torch.sigmoid(self.target["actor"](following)))
            wanted = rewards - self.baseline + (1 - last) * later
        step(self.critic_adam, F.mse_loss(_value(self.online, states, actions), wanted))
        step(self.actor_adam, -_value(self.online, states, torch.sigmoid(self.online["actor"](states))).mean())
        for slow, weight in zip(self.target.parameters(), self.online.parameters(), strict=True):
            slow.lerp_(weight.detach(), TAU)

    def state_dict(self) -> dict[str, Any]:
        """A snapshot that later steps do not touch."""
        parts = {name: getattr(self, name).state_dict() for name in ("online", "target", "actor_adam", "critic_adam")}
        return copy.deepcopy(parts) | {"buffer": self.buffer, "baseline": self.baseline}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for name in ("online", "target", "actor_adam", "critic_adam"):
            getattr(self, name).load_state_dict(copy.deepcopy(state[name]))
        self.buffer, self.baseline = state["buffer"], state["baseline"]


def _value(networks: nn.ModuleDict, states: Tensor, actions: Tensor) -> Tensor:
    value: Tensor = networks["critic"](torch.cat([states, actions], dim=1))
    return value
