"""Simulated annealing for several objectives: AMOSA (Bandyopadhyay 2008), asked and told asynchronously."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from autocomp.pareto import nondominated
from autocomp.problem import Problem
from autocomp.searchers.base import Floats, VectorSearcher, outcome, scaled
from autocomp.space import SearchSpace, Vectors
from autocomp.trial import Status, Trial


def domination_amount(a: Floats, b: Floats, spans: Floats) -> Floats:
    """``prod |f_i(a) - f_i(b)| / R_i`` over the objectives that differ (Bandyopadhyay 2008, section III), ``n x m`` to ``n``."""
    gap = np.abs(a - b) / spans
    return np.asarray(np.where(gap > 0, gap, 1.0).prod(-1))


def shifted(space: SearchSpace, vector: Vectors, generator: np.random.Generator, n: int, *, knobs: float) -> Vectors:
    """``n`` vectors with about ``knobs`` knobs moved a step or two, ``n x k``, canonical.

    Up and down are equally likely, so that a move of several knobs often makes one layer pay for another.
    """
    shape = (n, len(vector))
    free = space.cardinalities > 1
    moved = generator.random(shape) < knobs / max(free.sum(), 1)
    moved[np.arange(n), generator.choice(np.flatnonzero(free), n)] = True
    step = generator.geometric(0.5, shape) * generator.choice([-1, 1], shape)
    return space.canonical(np.clip(vector + moved * step, 0, space.cardinalities - 1))


class AnnealingSearcher(VectorSearcher):
    """AMOSA with one chain for each trial that runs at the same time.

    A pruned trial was worse than its peers at the same fidelity: its chain stays where it is, and its early metrics are
    never compared with final ones. So does the chain of an infeasible trial.

    Args:
        problem, seed, trials, start: see `VectorSearcher`.
        hottest, coldest: temperatures of the geometric schedule, in units of the domination amount.
        knobs: how many knobs a move changes at first, on average; one at the end.
        candidates: moves that are priced for each one that is asked.
        patience: rejected moves after which a chain returns to the archive (Suppapitnarm 2000).
    """

    def __init__(
        self,
        problem: Problem,
        *,
        seed: int,
        trials: int,
        start: int | None = None,
        hottest: float = 0.01,
        coldest: float = 1e-4,
        knobs: float = 4.0,
        candidates: int = 64,
        patience: int = 1,
    ) -> None:
        super().__init__(problem, seed=seed, trials=trials, start=start)
        self.hottest, self.coldest = hottest, coldest
        self.knobs = knobs
        self.candidates = candidates
        self.patience = patience
        self.vectors = np.zeros((0, len(self.space.knobs)), np.int64)
        self.values = np.zeros((0, len(problem.goals)))
        self.chains: list[list[int]] = []  # [current trial's row in `vectors`, rejections in a row]
        self.riding: dict[int, int] = {}  # running trial -> its chain

    @property
    def archive(self) -> Vectors:
        """Rows of the trials that no other trial dominates."""
        return np.flatnonzero(nondominated(self.values))

    @property
    def temperature(self) -> float:
        """Geometric cooling over the planned trials."""
        return float(self.hottest * (self.coldest / self.hottest) ** self.progress)

    def propose(self, trial_id: int) -> Vectors | None:
        """A move from the current point of a chain that waits for no trial."""
        if not len(self.vectors):
            return None
        chain = next((c for c in range(len(self.chains)) if c not in self.riding.values()), len(self.chains))
        if chain == len(self.chains):
            self.chains.append([self._base(), 0])
        current = self.vectors[self.chains[chain][0]]
        knobs = 1 + (self.knobs - 1) * (1 - self.progress)
        moves = self.fresh(shifted(self.space, current, self.generator, self.candidates, knobs=knobs))
        if not len(moves):
            return None
        self.riding[trial_id] = chain
        return self.choose(moves)

    def choose(self, moves: Vectors) -> Vectors:
        """The move that becomes a trial, of ``b x k`` feasible new ones.

        Prices are exact, so a move is pointless if something known is nowhere stronger and nowhere dearer: it cannot be
        expected to be more accurate either, whatever their devices. One of the others is drawn.
        """
        known = np.concatenate([self.vectors, moves])
        prices = scaled(self.problem, self.problem.paper_metrics(known)[0])
        cost = np.concatenate([known[:, self.space.of_layers], np.nan_to_num(prices)], axis=1)
        dominated = (cost[None] <= cost[len(self.vectors) :, None]).all(-1).sum(1) > 1  # one is the move itself
        worth = moves[~dominated] if not dominated.all() else moves
        return np.asarray(self.generator.choice(worth))

    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Remember a complete trial and move its chain as AMOSA decides."""
        if trial.status is not Status.COMPLETE:
            return
        self.vectors = np.concatenate([self.vectors, vector[None]])
        self.values = np.concatenate([self.values, outcome(self.problem, trial)[None]])
        chain = self.riding.get(trial.id)
        if chain is not None:
            self._step(chain, len(self.values) - 1)

    def forget(self, trial_id: int) -> None:
        """Free the chain of an ended trial."""
        self.riding.pop(trial_id, None)

    def _step(self, chain: int, new: int) -> None:
        """Accept, reject or jump: the three cases of AMOSA."""
        current, rejected = self.chains[chain]
        archive = self.archive
        best = self.values[archive]
        spans = np.maximum(np.ptp(np.concatenate([best, self.values[[current, new]]]), axis=0), 1e-12)
        above = archive[_dominates(best, self.values[new])]
        amounts = domination_amount(self.values[above], self.values[new], spans)
        if _dominates(self.values[current], self.values[new]):
            # case 1: the current point dominates the new one; average over it and the archive's dominating points
            own = domination_amount(self.values[current], self.values[new], spans)
            where = new if self._accepts(np.append(amounts[above != current], own).mean()) else current
        elif not _dominates(self.values[new], self.values[current]):
            # case 2: neither dominates; the archive decides
            where = new if not len(above) or self._accepts(amounts.mean()) else current
        elif len(above) and self.generator.random() < 1 / (1 + np.exp(-amounts.min())):
            # case 3a: the new point is better, but the archive has better yet: jump to the least better of those
            where = int(above[amounts.argmin()])
        else:
            # case 3b, 3c: the new point is better
            where = new
        rejected = rejected + 1 if where == current else 0
        self.chains[chain] = [self._base(), 0] if rejected >= self.patience else [where, rejected]

    def _accepts(self, amount: float) -> bool:
        """Worse moves pass with probability 1 / (1 + exp(amount / T)); the paper prints a product, which would heat up."""
        return bool(self.generator.random() < 1 / (1 + np.exp(min(amount / self.temperature, 500.0))))

    def _base(self) -> int:
        """An archive member to go on from, one far from the others more likely."""
        archive = self.archive
        distances = np.abs(self.values[archive, None] - self.values[archive]).sum(-1)
        isolation = np.sort(distances, axis=1)[:, 1:3].sum(1) + 1e-9
        return int(self.generator.choice(archive, p=isolation / isolation.sum()))

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return super().state_dict() | {
            "vectors": torch.from_numpy(self.vectors.copy()),
            "values": torch.from_numpy(self.values.copy()),
            "chains": [list(chain) for chain in self.chains],
            "riding": dict(self.riding),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.vectors, self.values = state["vectors"].numpy(), state["values"].numpy()
        self.chains = [list(chain) for chain in state["chains"]]
        self.riding = dict(state["riding"])


def _dominates(a: Floats, b: Floats) -> Any:
    """Whether ``... x m`` minimised points dominate one point, ``...``."""
    return (a <= b).all(-1) & (a < b).any(-1)
