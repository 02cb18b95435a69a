"""Searcher: ask for a configuration, tell what became of it; and what every searcher here has in common."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from autocomp.choice import Configuration
from autocomp.errors import ConfigError
from autocomp.problem import Problem
from autocomp.searchers.feasible import bridge, everything, find_feasible, single_changes, spread_sample, uniform_start
from autocomp.searchers.threads import one_thread
from autocomp.space import Vectors
from autocomp.trial import Status, Trial

Floats = NDArray[np.float64]
WORST = 3.0  # where a value is NaN: beyond everything that breaks the reference point by up to its own size
BATCH = 256  # candidates that are drawn together when a new configuration is looked for
FEW = 8  # of them that are priced first
ANCHORS = 16  # asked configurations whose surroundings are searched when chance finds nothing


@runtime_checkable
class Searcher(Protocol):
    """Proposes configurations and learns from finished trials, in any order.

    Same seed and same tells give the same asks. `ask` yields configurations of the problem's space that are feasible on
    paper and were never asked before. Infeasible and failed trials are not asked again; failed ones teach nothing.
    """

    def ask(self, trial_id: int) -> Configuration | None:
        """The configuration that the numbered trial shall try; None when nothing new is left.

        Raises:
            UnreachableLimitError: if no feasible configuration exists at all; `find_feasible` tells before a run.
        """

    def tell(self, trial: Trial) -> None:
        """Take in a trial that has ended, whatever its status; also one that this searcher did not ask for."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on: numbers, strings, lists, dictionaries and tensors."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`, on a searcher that was built with the same arguments."""


def scaled(problem: Problem, metrics: Mapping[str, ArrayLike]) -> Floats:
    """Goals in units of the reference box, ``n x m``, less is better; NaN where a metric is not known.

    0 is the teacher's quality or no cost at all, 1 the reference point.
    """
    columns = []
    for goal in problem.goals:
        ideal = 0.0 if goal.direction == "min" else float(goal.minimised(problem.baseline[goal.metric]))
        corner = float(goal.minimised(problem.reference_point[goal.metric]))
        columns.append((goal.minimised(metrics.get(goal.metric, np.nan)) - ideal) / (corner - ideal))
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def outcome(problem: Problem, trial: Trial) -> Floats:
    """What a measured trial is worth, ``m``, less is better.

    Inside the reference box and the limits these are the `scaled` goals. A trial outside is pushed away by 1 and by how
    far out it is, so that every trial inside dominates it (constrained domination, Deb 2002).
    """
    values = scaled(problem, trial.metrics)
    excess = sum(float(o.excess(trial.metrics[o.metric])) for o in problem.objectives if o.metric in trial.metrics)
    outside = excess + float(np.maximum(values - 1, 0).max())
    pushed = values + outside + (outside > 0)
    return np.nan_to_num(pushed, nan=WORST, posinf=WORST)


class VectorSearcher(ABC):
    """The part that all searchers share: what was asked, what is running, what may be asked at all.

    A configuration is handled as its canonical vector. A subclass says what to propose and what to learn.

    Args:
        problem: what is searched.
        seed: of everything random.
        trials: planned number of trials; schedules are laid over it.
        start: number of uniform configurations that are asked first; None for a quarter of the trials, up to 12.
    """

    def __init__(self, problem: Problem, *, seed: int, trials: int, start: int | None = None) -> None:
        self.problem = problem
        self.space = problem.space
        self.trials = max(trials, 1)
        self.start = min(12, trials // 4 + 1) if start is None else start
        self.generator = np.random.default_rng(seed)
        self.asked: dict[bytes, None] = {}
        self.share: float | None = None  # of a budget that is spent

    def pace(self, share: float) -> None:
        """From now on the run is over at a share of 1, however many trials that takes; schedules follow it."""
        self.share = share

    @abstractmethod
    def propose(self, trial_id: int) -> Vectors | None:
        """A new feasible vector (``k``), or None to leave it to chance."""

    @abstractmethod
    def learn(self, trial: Trial, vector: Vectors) -> None:
        """Take in a trial with metrics: complete or pruned."""

    def forget(self, trial_id: int) -> None:  # noqa: B027 most searchers keep nothing about a running trial
        """Drop what is remembered about a running trial; it has ended."""

    @one_thread()
    def ask(self, trial_id: int) -> Configuration | None:
        """See `Searcher.ask`."""
        vector = self.next(trial_id)
        if vector is None:
            return None
        self.expect(trial_id, vector)
        return self.space.decode(vector)

    def expect(self, trial_id: int, vector: Vectors) -> None:
        """Count on a trial, whoever asked for it; it is not asked again."""
        self.asked[vector.tobytes()] = None

    def next(self, trial_id: int) -> Vectors | None:
        """A uniform vector at first, then a proposal, or else anything new."""
        opening = self.fresh(uniform_start(self.problem, self.start if len(self.asked) < self.start else 0))
        if len(opening):
            return np.asarray(opening[0])
        has_decisions = bool((self.space.cardinalities > 1).any())
        vector = self.propose(trial_id) if has_decisions else None
        return self.any_fresh() if vector is None else vector

    @one_thread()
    def tell(self, trial: Trial) -> None:
        """See `Searcher.tell`."""
        vector = self._encoded(trial.configuration)
        if vector is not None:
            self.asked[vector.tobytes()] = None
            if trial.status in (Status.COMPLETE, Status.PRUNED):
                self.learn(trial, vector)
        self.forget(trial.id)

    def _encoded(self, configuration: Configuration) -> Vectors | None:
        """The canonical vector of a configuration; None where the space cannot yield it."""
        try:
            return np.asarray(self.space.encode([configuration])[0])
        except ConfigError:
            return None

    @property
    def progress(self) -> float:
        """How far the run is, in [0, 1]: the share of the budget that is spent, or that of the planned trials that were asked."""
        return min(len(self.asked) / self.trials if self.share is None else self.share, 1.0)

    def fresh(self, vectors: Vectors) -> Vectors:
        """Those of ``b x k`` vectors that are feasible and were not asked, each once, in the same order."""
        new = self.new(vectors)
        return new[self.problem.feasible(new)] if len(new) else new

    def new(self, vectors: Vectors) -> Vectors:
        """Those of ``b x k`` vectors that were not asked, each once, in the same order, canonical."""
        rows = {row.tobytes(): row for row in self.space.canonical(vectors)}
        kept = [row for key, row in rows.items() if key not in self.asked]
        return np.array(kept, np.int64).reshape(len(kept), len(self.space.knobs))

    def first_fresh(self, vectors: Vectors) -> Vectors | None:
        """The first of ``b x k`` vectors that is feasible and was not asked, canonical; None if none is."""
        for some in (vectors[:FEW], vectors[FEW:]):  # mostly one of the first few will do
            new = self.fresh(some)
            if len(new):
                return np.asarray(new[0])
        return None

    def any_fresh(self) -> Vectors | None:
        """Some feasible vector that was not asked; None when none is left, or none is found next to those asked."""
        found = (self.first_fresh(batch) for batch in self._batches())
        return next((vector for vector in found if vector is not None), None)

    def _batches(self) -> Iterator[Vectors]:
        """Where to look for something new, the most likely place first."""
        small = everything(self.space, BATCH)
        if small is not None:
            yield self.generator.permutation(small)
        else:
            yield spread_sample(self.space, self.generator, BATCH)
        if not self.asked:
            yield find_feasible(self.problem, self.generator, 1)
        elif small is None:
            asked = self.generator.permutation(self._asked_vectors())[:ANCHORS]
            yield from (single_changes(self.space, vector) for vector in asked)

    def near(self, vector: Vectors) -> Vectors | None:
        """A fresh vector close to one that is not: the first on a walk to some vector that is."""
        goal = self.any_fresh()
        return goal if goal is None else np.asarray(self.fresh(bridge(vector, goal, self.generator))[0])

    def _asked_vectors(self) -> Vectors:
        return np.frombuffer(b"".join(self.asked), np.int64).reshape(len(self.asked), len(self.space.knobs)).copy()

    def state_dict(self) -> dict[str, Any]:
        """See `Searcher.state_dict`."""
        return {
            # as text, because the counters have 128 bits
            "generator": json.dumps(self.generator.bit_generator.state),
            "asked": torch.from_numpy(self._asked_vectors()),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Searcher.load_state_dict`."""
        self.generator.bit_generator.state = json.loads(state["generator"])
        self.asked = dict.fromkeys(row.tobytes() for row in state["asked"].numpy())
