"""HAQ (Wang 2019) as published: DDPG decides layer by layer on the bits of weights and activations; a baseline."""

from __future__ import annotations

import numpy as np

from autocomp.problem import Problem
from autocomp.searchers.published import Floats, PublishedAgent, of_layers, scaled_to_one
from autocomp.space import Vectors
from autocomp.trial import Trial

WARMUP, DECAY = 20, 0.99
DESCRIBED = ("in_channels", "out_channels", "kernel_h", "stride", "in_h", "weights")


class HaqSearcher(PublishedAgent):
    """Bits alone, under a budget of latency, energy or size.

    Two steps for each layer, weights and activations, where the space has a choice. State: index, input and output channels, kernel,
    stride, map, weights, whether it is depthwise, whether weights or activations are decided, the last action; each scaled to
    [0, 1]. Action: evenly divided among the widths. Where the walk breaks the budget, all steps get one option narrower, from the
    last backwards, round after round, until it holds. Reward: 0.1 x (accuracy - the teacher's), in points. Warm-up of 20 episodes,
    noise 0.5 x 0.99^episodes.

    Args:
        problem, seed, trials, budget, metric, warmup: see `PublishedAgent`.

    Raises:
        ConfigError: if an argument is out of range, or no layer has bits to choose.
    """

    knobs = ("weight_bits", "activation_bits")

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        budget: float = 0.5,
        metric: str = "latency_s",
        warmup: float = WARMUP,
    ) -> None:
        super().__init__(problem, seed=seed, trials=trials, budget=budget, metric=metric, warmup=warmup, decay=DECAY, width=10)
        knobs = [self.space.knobs[c] for c in self.columns]
        layers = tuple(knob.layer for knob in knobs)
        index = [problem.workload.names.index(layer) for layer in layers]
        depthwise = of_layers(problem, layers, "groups")[:, 0] > 1
        of_weights = [knob.name == "weight_bits" for knob in knobs]
        self.features = scaled_to_one(np.column_stack([index, of_layers(problem, layers, *DESCRIBED), depthwise, of_weights]))

    def _columns(self) -> Vectors:
        """Weights before activations, layer by layer."""
        place = {layer: i for i, layer in enumerate(self.space.layers)}
        knobs = self.space.knobs
        return np.array(sorted(super()._columns(), key=lambda c: (place[knobs[c].layer], self.knobs.index(knobs[c].name))), np.int64)

    def walked(self) -> Vectors:
        """See `PublishedAgent.walked`."""
        vector, last = np.zeros(len(self.space.knobs), np.int64), 1.0
        for step, column in enumerate(self.columns):
            last = self.act(np.append(self.features[step], last))
            count = self.space.cardinalities[column]
            vector[column] = count - 1 - min(int(last * count), count - 1)  # an action of 1 is the widest, which is the first
        return self.lowered(vector)

    def lowered(self, vector: Vectors) -> Vectors:
        """The same with bits taken away from the last layer backwards until the budget holds, or all are at their narrowest."""
        lowered = vector.copy()
        most = self.space.cardinalities - 1
        while self.cost(lowered[None])[0] > self.most and (lowered < most)[self.columns].any():
            steps = [c for c in self.columns[::-1] if lowered[c] < most[c]]
            tried = np.repeat(lowered[None], len(steps), axis=0)
            for row, column in enumerate(steps):
                tried[row:, column] += 1
            within = np.flatnonzero(self.cost(tried) <= self.most)
            lowered = tried[within[0] if len(within) else -1]
        return lowered

    def described(self, vector: Vectors) -> tuple[Floats, Floats]:
        """See `PublishedAgent.described`."""
        count = self.space.cardinalities[self.columns]
        actions = (count - vector[self.columns] - 0.5) / count  # the middle of what is rounded to this width
        last = np.concatenate([[1.0], actions[:-1]])
        return np.column_stack([self.features, last]), actions

    def reward(self, trial: Trial) -> float:
        """See `PublishedAgent.reward`."""
        return 0.1 * 100 * (trial.metrics["accuracy"] - self.problem.baseline["accuracy"])
