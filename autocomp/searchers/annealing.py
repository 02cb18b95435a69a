"""Simulated annealing for several objectives: AMOSA (Bandyopadhyay 2008), on a surrogate or on trials alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.amosa import accept, archived
from autocomp.searchers.arguments import at_least
from autocomp.searchers.base import Floats, scaled
from autocomp.searchers.feasible import spread_sample, uniform_start
from autocomp.searchers.guided import GuidedSearcher
from autocomp.searchers.knowledge import Forecast, Knowledge
from autocomp.searchers.tempering import Chains, moved
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

GROUPS = 16  # of knobs; a vector that is stronger in the sum over one of them is not nowhere stronger


class AnnealingSearcher(GuidedSearcher):
    """AMOSA, on a surrogate where there is one and on trials where not.

    With a surrogate, every ask anneals anew in imagination: chains at a ladder of temperatures walk thousands of steps on exact
    prices and guessed accuracy (parallel tempering). What of all that they met promises the greatest expected gain of hypervolume
    is refined change by change and asked. Half of the chains begin at the best real trials, the others go on where they were.

    Without a surrogate it is AMOSA as published, with one chain for each trial that runs at the same time. A pruned trial was worse
    than its peers at the same fidelity: its chain stays where it is, and its early metrics are never compared with final ones. So
    does the chain of an infeasible trial.

    Args:
        problem, seed, trials, start, surrogate, known: see `GuidedSearcher`.
        hottest, coldest: temperatures, in units of the domination amount: of the ladder, or of the geometric schedule over the trials.
        knobs: how many knobs a move changes at the hottest, on average; one at the coldest.
        chains: on the ladder.
        steps: of each chain for one ask; None for as many as take a fraction of a second.
        rounds: of refinement; None for as many as are useful.
        candidates: moves that are priced for each one that is asked, without a surrogate.
        patience: rejected moves after which a chain returns to the archive (Suppapitnarm 2000), without a surrogate.
        soft, hard: members from which on an archive is thinned, and to which.

    Raises:
        ConfigError: if an argument is out of range.
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
        hottest: float = 0.01,
        coldest: float = 1e-4,
        knobs: float = 4.0,
        chains: int = 32,
        steps: int | None = None,
        rounds: int | None = None,
        candidates: int = 64,
        patience: int = 1,
        soft: int = 128,
        hard: int = 64,
    ) -> None:
        at_least(1, knobs=knobs, chains=chains, steps=steps, candidates=candidates, patience=patience, hard=hard)
        if not 0 < coldest <= hottest:
            raise ConfigError(f"`searcher.coldest` must be above 0 and at most `searcher.hottest`, but they are {coldest} and {hottest}.")
        if soft < hard:
            raise ConfigError(f"`searcher.soft` must be at least `searcher.hard`, but they are {soft} and {hard}.")
        super().__init__(problem, seed=seed, trials=trials, start=start, surrogate=surrogate, known=known, rounds=rounds)
        self.hottest, self.coldest, self.knobs = hottest, coldest, knobs
        self.steps = steps or max(int(0.6 * self.looks / chains), 1)
        self.candidates, self.patience = candidates, patience
        self.soft, self.hard = soft, hard
        self.is_imagining = surrogate
        self.ladder = np.geomspace(coldest, hottest, chains)
        self.places = np.zeros((0, len(self.space.knobs)), np.int64)  # where the imagined chains stand
        self.prices = np.zeros((0, len(problem.goals)))  # of every trial, as in `_exact`
        self.sums = self._sums(self.known.vectors)  # of every trial
        self.chains: list[list[int]] = []  # on trials: [current trial's row in `vectors`, rejections in a row]
        self.riding: dict[int, int] = {}  # running trial -> its chain

    def propose(self, trial_id: int) -> Vectors | None:
        """See `VectorSearcher.propose`."""
        return self.imagine() if self.is_imagining else self._move(trial_id)

    # on the surrogate

    def look(self) -> Forecast:
        """Anneal in imagination."""
        chains = Chains(self.space, self.known.forecast, self.ladder, knobs=self.knobs, soft=self.soft, hard=self.hard)
        self.places, met = chains.walk(self._anchored(), self.steps, self.generator)
        return met

    def _anchored(self) -> Vectors:
        """Where the chains begin: every other one at a real trial that no other dominates."""
        count = len(self.ladder)
        if not len(self.places):
            sample = np.concatenate([uniform_start(self.problem, count), spread_sample(self.space, self.generator, count)])
            self.places = sample[:count]
        archive = self.known.archive
        if not len(archive):
            return self.places
        anchors = self.known.vectors[self.generator.choice(archive, count)]
        return np.where((np.arange(count) % 2 == 0)[:, None], anchors, self.places)

    # on trials

    @property
    def temperature(self) -> float:
        """Geometric cooling over the planned trials."""
        return float(self.hottest * (self.coldest / self.hottest) ** self.progress)

    def _move(self, trial_id: int) -> Vectors | None:
        """A move from the current point of a chain that waits for no trial."""
        if not len(self.known.archive):
            return None
        chain = next((c for c in range(len(self.chains)) if c not in self.riding.values()), len(self.chains))
        if chain == len(self.chains):
            self.chains.append([self._base(), 0])
        current = self.known.vectors[self.chains[chain][0]]
        knobs = 1 + (self.knobs - 1) * (1 - self.progress)
        moves = moved(self.space, np.repeat(current[None], self.candidates, axis=0), self.generator, np.full(self.candidates, knobs))
        moves = self.new(moves)
        metrics, violations = self.problem.assess(moves)
        is_feasible = violations == 0
        if not is_feasible.any():
            return None
        self.riding[trial_id] = chain
        return self.choose(moves[is_feasible], self._exact(metrics)[is_feasible])

    def choose(self, moves: Vectors, prices: Floats) -> Vectors:
        """The move that becomes a trial, of ``b x k`` feasible new ones with their prices as in `_exact`.

        Prices are exact, so a move is pointless if something known is nowhere stronger and nowhere dearer: it cannot be
        expected to be more accurate either, whatever their devices. One of the others is drawn.
        """
        # prices and sums tell nearly all pairs apart before every single strength is compared
        known, new = np.hstack([self.prices, self.sums]), np.hstack([prices, self._sums(moves)])
        move, other = np.nonzero((np.concatenate([known, new]).T[:, None] <= new.T[:, :, None]).all(0))
        everything, of_layers = np.concatenate([self.known.vectors, moves]), self.space.of_layers
        is_milder = (everything[other][:, of_layers] <= moves[move][:, of_layers]).all(1)
        dominated = np.bincount(move[is_milder], minlength=len(moves)) > 1  # one is the move itself
        worth = moves[~dominated] if not dominated.all() else moves
        return np.asarray(self.generator.choice(worth))

    def _sums(self, vectors: Vectors) -> Vectors:
        """The strengths of ``b x k`` vectors in all, knobs taken together in groups, ``b x GROUPS`` at most."""
        strengths = vectors[:, self.space.of_layers]
        width = max(-(-strengths.shape[1] // GROUPS), 1)
        return np.asarray(np.add.reduceat(strengths, np.arange(0, strengths.shape[1], width), axis=1))

    def _exact(self, metrics: Mapping[str, ArrayLike]) -> Floats:
        """The goals that are no matter of measurement, in units of the reference box, ``n x m``; 0 for the others."""
        values = np.nan_to_num(scaled(self.problem, metrics), nan=np.inf)  # what is missing makes no other move pointless
        values[..., self.known.measured] = 0.0
        return values

    def react(self, trial: Trial, vector: Vectors) -> None:
        """Move the chain of a trial as AMOSA decides."""
        self.prices = np.concatenate([self.prices, np.atleast_2d(self._exact(trial.metrics))])
        self.sums = np.concatenate([self.sums, self._sums(vector[None])])
        chain = self.riding.get(trial.id)
        if chain is not None and trial.status is Status.COMPLETE:
            self._step(chain, len(self.known.values) - 1)

    def forget(self, trial_id: int) -> None:
        """Free the chain of an ended trial."""
        super().forget(trial_id)
        self.riding.pop(trial_id, None)

    def _step(self, chain: int, new: int) -> None:
        """Accept, reject or jump."""
        current, rejected = self.chains[chain]
        archive, values = self.kept, self.known.values
        temperature = np.array([self.temperature])
        accepted, jumps = accept(values[[current]], values[[new]], values[archive], temperature, self.generator)
        where = int(archive[jumps[0]]) if jumps[0] >= 0 else new if accepted[0] else current
        rejected = rejected + 1 if where == current else 0
        self.chains[chain] = [self._base(), 0] if rejected >= self.patience else [where, rejected]

    @property
    def kept(self) -> Vectors:
        """Rows of the archive, thinned where it grew too large."""
        values = self.known.values
        complete = np.flatnonzero(~np.isnan(values).any(axis=1))
        return complete[archived(values[complete], self.soft, self.hard)]

    def _base(self) -> int:
        """An archive member to go on from, one far from the others more likely."""
        archive = self.kept
        values = self.known.values[archive]
        distances = np.abs(values[:, None] - values).sum(-1)
        isolation = np.sort(distances, axis=1)[:, 1:3].sum(1) + 1e-9
        return int(self.generator.choice(archive, p=isolation / isolation.sum()))

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in ("places", "prices")}
        return super().state_dict() | arrays | {"chains": [list(chain) for chain in self.chains], "riding": dict(self.riding)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        super().load_state_dict(state)
        self.places, self.prices = state["places"].numpy().copy(), state["prices"].numpy().copy()
        self.sums = self._sums(self.known.vectors)
        self.chains = [list(chain) for chain in state["chains"]]
        self.riding = dict(state["riding"])
