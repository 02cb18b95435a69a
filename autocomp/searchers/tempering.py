"""Annealing in imagination: chains at a ladder of temperatures that walk on prices and guesses, without a single trial."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autocomp.searchers.amosa import accept, archived, dominates, domination_amount
from autocomp.searchers.knowledge import Forecast
from autocomp.space import SearchSpace, Vectors

Floats = npt.NDArray[np.float64]
PAIRED = 0.5  # share of moves that change two knobs of a layer
WIDE = 0.1  # share of moves that shift one kind of knob in all layers
PUSH = 1.0  # added to the values of what breaks a limit, beside how far it does


def moved(space: SearchSpace, vectors: Vectors, generator: np.random.Generator, knobs: Floats) -> Vectors:
    """One move from each of ``c x k`` vectors, canonical.

    About ``knobs`` (``c``) entries move by a step or two. Up and down are equally likely, so that one layer often pays for another
    along a surface of equal cost. Half of the moves change two knobs of one layer, a tenth shifts all knobs of one kind together.
    """
    free = space.cardinalities > 1
    shape = vectors.shape
    mask = generator.random(shape) < (knobs / max(free.sum(), 1))[:, None]
    rows, first = np.arange(len(vectors)), generator.choice(np.flatnonzero(free), len(vectors))
    mask[rows, first] = True
    mask[rows, np.where(generator.random(len(vectors)) < PAIRED, space.mates(first, generator), first)] = True
    step = generator.geometric(0.5, shape) * generator.choice([-1, 1], shape)
    names = np.array([knob.name for knob in space.knobs])
    kinds = np.unique(names[free])
    wide = generator.random(len(vectors)) < WIDE
    same = names[None] == generator.choice(kinds, len(vectors))[:, None]
    step = np.where(wide[:, None], same * generator.choice([-1, 1], (len(vectors), 1)), mask * step)
    return space.canonical(np.clip(vectors + step, 0, space.cardinalities - 1))


def pushed(forecast: Forecast) -> Floats:
    """Values of candidates with those that break a limit behind all others (constrained domination, Deb 2002)."""
    broken = forecast.violations[:, None]
    return np.where(broken > 0, forecast.values + PUSH + broken, forecast.values)


@dataclass(eq=False)
class Chains:
    """``c`` chains, the coldest first, and the archive of what they have seen.

    Attributes:
        space: where they walk.
        look: tells what is expected of vectors.
        temperatures: of the chains, in units of the domination amount.
        knobs: how many knobs a move of the hottest chain changes; one of the coldest.
        soft, hard: limits of the archive.
    """

    space: SearchSpace
    look: Callable[[Vectors], Forecast]
    temperatures: Floats
    knobs: float = 4.0
    soft: int = 128
    hard: int = 64

    def walk(self, start: Vectors, steps: int, generator: np.random.Generator) -> tuple[Vectors, Forecast]:
        """Anneal from ``c`` vectors for ``c x steps`` steps.

        Returns:
            Where the chains end (``c x k``), and everything that they met that may be tried, each once.
        """
        count = len(self.temperatures)
        moves = np.linspace(1.0, self.knobs, count)
        current = self.look(start)
        values = pushed(current)
        vectors = start
        kept = archived(values, self.soft, self.hard)
        archive, members = values[kept], vectors[kept]
        met = [current]
        for _ in range(steps):
            new = self.look(moved(self.space, vectors, generator, moves))
            met.append(new)
            new_values = pushed(new)
            accepted, jumps = accept(values, new_values, archive, self.temperatures, generator)
            vectors = np.where(accepted[:, None], new.vectors, vectors)
            values = np.where(accepted[:, None], new_values, values)
            jumping = np.flatnonzero(jumps >= 0)
            vectors[jumping], values[jumping] = members[jumps[jumping]], archive[jumps[jumping]]
            archive, members = np.concatenate([archive, new_values]), np.concatenate([members, new.vectors])
            kept = archived(archive, self.soft, self.hard)
            archive, members = archive[kept], members[kept]
            self._exchange(vectors, values, archive, generator)
        seen = Forecast.joined(met).distinct()
        return vectors, seen.rows(seen.violations == 0)

    def _exchange(self, vectors: Vectors, values: Floats, archive: Floats, generator: np.random.Generator) -> None:
        """Let neighbours on the ladder swap places (parallel tempering, Geyer 1991); energy is the mean amount of domination."""
        spans = np.maximum(np.ptp(archive, axis=0), 1e-12)
        above = dominates(archive[None], values[:, None])
        amounts = np.where(above, domination_amount(archive[None], values[:, None], spans), 0.0)
        energy = amounts.sum(1) / np.maximum(above.sum(1), 1)
        first = np.arange(int(generator.integers(2)), len(values) - 1, 2)
        cold, hot = 1 / self.temperatures[first], 1 / self.temperatures[first + 1]
        chance = np.exp(np.clip((cold - hot) * (energy[first] - energy[first + 1]), -50, 0))
        swaps = first[generator.random(len(first)) < chance]
        for array in (vectors, values):
            array[swaps], array[swaps + 1] = array[swaps + 1].copy(), array[swaps].copy()
