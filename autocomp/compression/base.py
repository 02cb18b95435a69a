"""Method: turns one part of a choice into a changed network, and on paper into a changed workload."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choices, Configuration
from hwmodels import Workload


@runtime_checkable
class Method(Protocol):
    """One kind of compression.

    The keystone: ``trace(apply(model, c))`` and ``lower(trace(model), c)`` are the same layers, for every method and
    every kind of layer. A search asks for thousands of prices before it trains anything; this is why they can be trusted.
    """

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """The workload of each candidate, ``b x l``, computed from ``b`` choices and no weights."""

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """The model with the configuration's part of this method carried out; may change the model in place."""

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Which layers (``l``) can take which option, by (knob, category or "") ."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """A few training images that a method may look at.

    Attributes:
        images: normalised, ``n x c x h x w``.
        labels: ``n``; None where there are none, and then the network's own answers take their place.
        passes: what methods spent on looking, in images forward (`spend`), an entry for each time.
    """

    images: Tensor
    labels: Tensor | None = None
    passes: list[float] = field(default_factory=list)

    def spend(self, times: float, images: int | None = None) -> None:
        """Note that images, all by default, went through a network: once forward is 1, forward and backward 3."""
        self.passes.append(times * (len(self.images) if images is None else images))


@runtime_checkable
class DataDriven(Protocol):
    """A method that may look at images before it changes a network."""

    def given(self, calibration: Calibration) -> Method:
        """The same method with images at hand."""


@runtime_checkable
class Bounded(Protocol):
    """A method whose options make sense up to a number of bits that depends on the layer."""

    def widest(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.int64]]:
        """The most bits of each layer (``l``), by (knob that says how, category)."""


def removed_count(sparsity: NDArray[np.float64], total: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of ``total`` go, rounded down."""
    # the small term keeps 0.3 * 10, which is below 3 in floating point, from being rounded down to 2
    return np.asarray(np.floor(sparsity * total + 1e-9), np.int64)
