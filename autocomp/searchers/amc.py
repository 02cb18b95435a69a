"""AMC (He 2018) as published: DDPG decides layer by layer how many filters are kept; a baseline."""

from __future__ import annotations

from typing import Any

import numpy as np

from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.published import Floats, PublishedAgent, of_layers, scaled_to_one
from autocomp.space import Vectors
from autocomp.trial import Trial

WARMUP, DECAY = 100, 0.95
REWARDS = ("budget", "accuracy")
DESCRIBED = ("op", "in_channels", "out_channels", "stride", "kernel_h", "weights")


class AmcSearcher(PublishedAgent):
    """Filter sparsity alone, under a budget of MACs.

    State: index, kind, input and output channels, stride, kernel, weights, what is reduced so far, what is left to decide, the last
    action; each scaled to [0, 1]. Action: the share of filters that is kept, rounded to the options of the space. A layer has to
    give up as much as it takes to keep the budget in reach with all later layers at their least, by exact prices. Reward: accuracy,
    or, for `accuracy`, -(1 - accuracy) ln MACs without a budget. Warm-up of 100 episodes, noise 0.5 x 0.95^episodes.

    Args:
        problem, seed, trials, metric, warmup: see `PublishedAgent`.
        budget: share of the teacher's cost that may be left; does not count for the reward `accuracy`.
        reward: ``budget`` or ``accuracy``.

    Raises:
        ConfigError: if an argument is out of range, or no layer has filter sparsity to choose.
    """

    knobs = ("sparsity",)

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        budget: float = 0.5,
        metric: str = "macs",
        reward: str = "budget",
        warmup: float = WARMUP,
    ) -> None:
        if reward not in REWARDS:
            raise ConfigError(f"`searcher.reward` must be one of {', '.join(REWARDS)}, but is '{reward}'.")
        share = budget if reward == "budget" else 1.0
        super().__init__(problem, seed=seed, trials=trials, budget=share, metric=metric, warmup=warmup, decay=DECAY, width=10)
        self.kind = reward
        layers = tuple(self.space.knobs[c].layer for c in self.columns)
        macs = of_layers(problem, layers, "macs")[:, 0]
        self.shares = macs / macs.sum()
        self.features = scaled_to_one(np.column_stack([np.arange(len(layers)), of_layers(problem, layers, *DESCRIBED)]))
        self.kept = [1 - np.array(self.space.knobs[c].options, np.float64) for c in self.columns]  # by option, most first

    def _columns(self) -> Vectors:
        """Layers whose filters can be pruned; their pattern is set to filters."""
        patterns = {k.layer: (i, k.options.index("filter")) for i, k in enumerate(self.space.knobs) if _has_filters(k.name, k.options)}
        columns = [c for c in super()._columns() if self.space.knobs[c].layer in patterns]
        self.bare = np.zeros(len(self.space.knobs), np.int64)
        for layer in (self.space.knobs[c].layer for c in columns):
            self.bare[patterns[layer][0]] = patterns[layer][1]
        return np.array(columns, np.int64)

    def walked(self) -> Vectors:
        """See `PublishedAgent.walked`."""
        vector, kept = self.bare.copy(), np.ones(len(self.columns))
        for step, column in enumerate(self.columns):
            action = self.act(self._state(kept, step))
            wanted = int(np.abs(self.kept[step] - action).argmin())
            vector[column] = max(wanted, self.bound(vector, step))
            kept[step] = self.kept[step][vector[column]]
        return vector

    def bound(self, vector: Vectors, step: int) -> int:
        """The mildest option of a layer with which later layers at their least still keep the budget; its strongest if none does."""
        options = len(self.kept[step])
        tried = np.repeat(vector[None], options, axis=0)
        tried[:, self.columns[step + 1 :]] = self.space.cardinalities[self.columns[step + 1 :]] - 1
        tried[:, self.columns[step]] = np.arange(options)
        within = np.flatnonzero(self.cost(tried) <= self.most)
        return int(within[0]) if len(within) else options - 1

    def described(self, vector: Vectors) -> tuple[Floats, Floats]:
        """See `PublishedAgent.described`."""
        kept = np.array([of_option[vector[c]] for of_option, c in zip(self.kept, self.columns, strict=True)])
        return np.stack([self._state(kept, step) for step in range(len(kept))]), kept

    def _state(self, kept: Floats, step: int) -> Floats:
        reduced, rest = float((self.shares * (1 - kept))[:step].sum()), float(self.shares[step + 1 :].sum())
        return np.concatenate([self.features[step], [reduced, rest, kept[step - 1] if step else 1.0]])

    def reward(self, trial: Trial) -> float:
        """See `PublishedAgent.reward`."""
        accuracy = trial.metrics["accuracy"]
        return accuracy if self.kind == "budget" else -(1 - accuracy) * float(np.log(max(trial.metrics[self.metric], 1.0)))


def _has_filters(name: str, options: tuple[Any, ...]) -> bool:
    return name == "pattern" and "filter" in options
