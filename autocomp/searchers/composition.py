"""Composition: what a configuration is made of, as far as its accuracy depends on it; known without a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autocomp.choice import DEFAULTS, Choice
from autocomp.problem import Problem
from autocomp.sensitivity import Part, Sensitivity, parts
from autocomp.space import Vectors

Floats = NDArray[np.float64]
LEAST = 1e-7  # nats; what cannot be told from nothing

# Loss of a choice where nothing was measured, up to a factor: zeros and missing ranks hurt ever more, a bit less doubles each
# rounding step, whose square counts. Filters are worth more than single weights, whose zeros training works around.
ASSUMED: Mapping[str, Callable[[Choice], float]] = {
    "sparsity": lambda c: (1.0 if c.pattern == "filter" else 0.2) * c.sparsity**2 / (1.05 - c.sparsity),
    "rank": lambda c: (1 - c.rank) ** 2 / (0.05 + c.rank),
    "weight_bits": lambda c: 4.0 ** (2 - c.weight_bits),
    "activation_bits": lambda c: 4.0 ** (2 - c.activation_bits),
}


@dataclass(frozen=True, eq=False)
class Features:
    """What ``n`` configurations are made of.

    Attributes:
        losses: what each part would cost if its choice were the only one, nats, ``n x p``.
        strengths: which of its options each part takes, from 0 for the mildest to 1, ``n x p``.
    """

    losses: Floats
    strengths: Floats

    def __len__(self) -> int:
        return len(self.losses)

    def __getitem__(self, chosen: slice | NDArray[np.bool_]) -> Features:
        return Features(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def __add__(self, other: Features) -> Features:
        return Features(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


class Composition:
    """The ``p`` parts of a space, to be looked up for many vectors at once.

    Args:
        problem: whose space it is; where its sensitivity is known, losses are measured ones, otherwise of the usual course.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.parts = parts(problem.space)
        self.kinds = sorted({part.switch for part in self.parts})
        self.tables = [_losses(part, problem.sensitivity) for part in self.parts]

    @cached_property
    def of_kind(self) -> Floats:
        """Which kind each part is of, ``p x kinds``, 0 or 1."""
        return np.array([[part.switch == kind for kind in self.kinds] for part in self.parts], np.float64).reshape(
            len(self.parts), len(self.kinds)
        )

    @cached_property
    def _switches(self) -> NDArray[np.int64]:
        return np.array([part.columns[0] for part in self.parts], np.int64)

    @cached_property
    def _lookup(self) -> tuple[Floats, Vectors, Vectors, Vectors, NDArray[np.bool_]]:
        """Losses of all choices; of each part the first of them, how many an option of its switch has, its how-knob, whether it has one."""
        first = np.cumsum([0, *(len(table) for table in self.tables)], dtype=np.int64)[:-1]
        strides = np.array([part.options[-1] if len(part.options) > 1 else 1 for part in self.parts], np.int64)
        hows = np.array([part.columns[-1] for part in self.parts], np.int64)
        return np.concatenate([np.zeros(0), *self.tables]), first, strides, hows, hows != self._switches

    def features(self, vectors: Vectors) -> Features:
        """Of ``b x k`` vectors."""
        losses, first, strides, hows, has_how = self._lookup
        most = np.maximum(self.problem.space.cardinalities[self._switches] - 1, 1)
        return Features(
            losses=losses[first + vectors[:, self._switches] * strides + vectors[:, hows] * has_how],
            strengths=vectors[:, self._switches] / most,
        )


def _losses(part: Part, sensitivity: Sensitivity | None) -> Floats:
    """The loss of each choice of a part; ones that were not measured follow the usual course at the height of those that were."""
    assumed = np.array([_assumed(part.switch, choice) for choice in part.choices])
    measured = np.full(len(assumed), np.nan) if sensitivity is None else sensitivity.losses(part)
    known = ~np.isnan(measured) & (assumed > 0)
    height = float(np.exp(np.mean(np.log(np.maximum(measured[known], LEAST) / assumed[known])))) if known.any() else 1.0
    losses = np.where(np.isnan(measured), assumed * height, measured)
    return np.where(losses > LEAST, losses, 0.0)


def _assumed(switch: str, choice: Choice | None) -> float:
    if choice is None:  # ternary factors
        return ASSUMED[switch](Choice(weight_bits=2))
    return 0.0 if getattr(choice, switch) == DEFAULTS[switch] else ASSUMED[switch](choice)
