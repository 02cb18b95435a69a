"""Sensitivity and an exact knapsack, as expert tools do it: the least loss that single choices add up to within a budget of costs."""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from autocomp.errors import ConfigError
from autocomp.objective import PAPER_METRICS
from autocomp.pareto import nondominated
from autocomp.problem import Problem
from autocomp.searchers.base import VectorSearcher, scaled
from autocomp.searchers.composition import Composition
from autocomp.space import Vectors
from autocomp.trial import Trial

Floats = NDArray[np.float64]
GOLDEN = (5**0.5 - 1) / 2
ROUNDS = 6  # of pricing around the solution and solving anew
SLACK = 0.02  # of a budget by which the last solution may exceed it
TIME_LIMIT_S = 5.0  # of one program; the best solution until then is taken


class KnapsackSearcher(VectorSearcher):
    """Each ask solves an integer program: one choice for each layer, the least sum of losses, all costs within a budget.

    The budget is a share of the teacher's costs; it follows the golden ratio, so that any number of trials covers the front. What a
    layer costs depends on its neighbours, so that costs are linearised around the last solution, priced exactly, and solved anew.
    Nothing is learned from trials.

    Args:
        problem, seed, trials: see `VectorSearcher`.

    Raises:
        ConfigError: if the problem has no sensitivity profile, or no cost to bound.
    """

    uses_profile = True

    def __init__(self, problem: Problem, *, seed: int, trials: int) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=0)
        if problem.sensitivity is None:
            raise ConfigError("The knapsack searcher needs a sensitivity profile; leave profile.enabled at true.")
        self.costs = [i for i, goal in enumerate(problem.goals) if goal.metric in PAPER_METRICS]
        if not self.costs:
            raise ConfigError("The knapsack searcher needs an objective that is known on paper, such as latency_s.")
        composition = Composition(problem)
        self.layers = [_Layer(problem, composition, layer) for layer in problem.space.layers]
        self.layers = [layer for layer in self.layers if len(layer.columns)]
        self.cheapest = float(self._prices(problem.space.canonical(problem.space.cardinalities - 1)[None]).max())

    def propose(self, trial_id: int) -> Vectors | None:
        """The solution for the next budgets, until one is new."""
        for attempt in range(4):
            share = (0.5 + (trial_id + attempt / 4) * GOLDEN) % 1
            vector = self._solve(self.cheapest + (1 - self.cheapest) * share)
            new = self.fresh(vector[None])
            if len(new):
                return np.asarray(new[0])
        return self.near(vector)

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Nothing."""

    def _prices(self, vectors: Vectors) -> Floats:
        """Costs relative to the teacher's, ``b x costs``."""
        return scaled(self.problem, self.problem.paper_metrics(vectors)[0])[:, self.costs]

    def _solve(self, budget: float) -> Vectors:
        """The best vector found for a budget; the cheapest of those tried if none meets it."""
        current = np.zeros(len(self.space.knobs), np.int64)
        best, least = current, np.inf
        target = budget
        for _ in range(ROUNDS):
            current = self._step(current, target)
            price = float(self._prices(current[None]).max())
            loss = sum(layer.loss_of(current) for layer in self.layers)
            excess = max(price - budget, 0.0)
            if excess * 1e6 + loss < least:
                best, least = current, excess * 1e6 + loss
            if abs(price - budget) <= SLACK * budget:
                break
            target *= budget / price  # neighbours saved more or less than a step foresees
        return best

    def _step(self, current: Vectors, budget: float) -> Vectors:
        """The solution with costs as they are around a vector."""
        rows = [layer.variants(current) for layer in self.layers]
        here = self._prices(current[None])
        changes = self._prices(self.space.canonical(np.concatenate(rows))) - here
        losses = np.concatenate([layer.losses for layer in self.layers])
        owner = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
        useful = np.concatenate([_useful(losses[owner == i], changes[owner == i]) for i in range(len(rows))])
        chosen = np.flatnonzero(useful)
        one_each = csr_array((np.ones(len(chosen)), (owner[chosen], np.arange(len(chosen)))), shape=(len(rows), len(chosen)))
        found = milp(
            losses[chosen],
            integrality=np.ones(len(chosen)),
            bounds=Bounds(0, 1),
            constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(changes[chosen].T, -np.inf, budget - here[0])],
            options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": 1e-3},
        )
        if found.x is None:  # not even the cheapest of each layer is enough
            cheapest = [chosen[owner[chosen] == i][changes[chosen[owner[chosen] == i]].max(1).argmin()] for i in range(len(rows))]
        else:
            cheapest = chosen[np.flatnonzero(found.x > 0.5)].tolist()
        vector, variants = current.copy(), np.concatenate(rows)
        for i in cheapest:
            columns = self.layers[owner[i]].columns
            vector[columns] = variants[i, columns]
        return np.asarray(self.space.canonical(vector[None])[0])


class _Layer:
    """Everything that can be done to one layer: every combination of the choices of its parts, and what these cost alone."""

    def __init__(self, problem: Problem, composition: Composition, layer: str) -> None:
        own = [i for i, part in enumerate(composition.parts) if part.layer == layer]
        self.columns = np.array([c for i in own for c in composition.parts[i].columns], np.int64)
        choices = [[*product(*(range(n) for n in composition.parts[i].options))] for i in own]
        self.parts = [(composition.parts[i], composition.tables[i]) for i in own]
        combined = [[index for choice in row for index in choice] for row in product(*choices)]
        self.options = np.array(combined, np.int64).reshape(len(combined), len(self.columns))
        vectors = np.zeros((len(self.options), len(problem.space.knobs)), np.int64)
        vectors[:, self.columns] = self.options
        self.losses = np.sum([table[part.numbers(vectors)] for part, table in self.parts], axis=0) if own else np.zeros(1)

    def variants(self, vector: Vectors) -> Vectors:
        """A vector with each of the options of this layer, ``options x k``."""
        result = np.repeat(vector[None], len(self.options), axis=0)
        result[:, self.columns] = self.options
        return result

    def loss_of(self, vector: Vectors) -> float:
        """What the layer's own choices in a vector cost alone."""
        return float(sum(table[part.numbers(vector[None])][0] for part, table in self.parts))


def _useful(losses: Floats, changes: Floats) -> NDArray[np.bool_]:
    """Which options of a layer no other one beats in loss and in every cost."""
    return nondominated(np.concatenate([losses[:, None], changes], axis=1))
