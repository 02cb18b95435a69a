"""Exploration: one network on many designs of a device, and which of the designs are worth building."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autocomp.errors import ConfigError, UnknownNameError, UnreachableLimitError
from autocomp.pareto import nondominated
from hwmodels import CostReport, Workload
from hwmodels.design import Adjustable, Value, grid

Floats = NDArray[np.float64]

PRICES: Final = ("latency_s", "energy_j", "area_mm2")
SLICE: Final = 4096  # designs that are priced together: per-layer figures of a large sweep would fill the memory
MOST: Final = 1_000_000  # designs of one sweep


@dataclass(frozen=True, eq=False)
class Exploration:
    """Prices of ``n`` designs.

    Attributes:
        columns: the parameters that were varied, each with its value in every design (``n``).
        figures: `PRICES`, what each design needs of every resource, and what disturbs its numbers, ``n`` each.
        bounds: the most that is allowed of some figures, by the device or by the user, ``n`` each.
        disturbances: the figures that are about what disturbs numbers, where designs differ in them.
        objectives: the figures that shall be small.
        own: figures of the device as it is.
    """

    columns: Mapping[str, Sequence[Value]]
    figures: Mapping[str, Floats]
    bounds: Mapping[str, Floats]
    disturbances: tuple[str, ...]
    objectives: tuple[str, ...]
    own: Mapping[str, float]

    @cached_property
    def excess(self) -> Floats:
        """How far each design is over its bounds, each relative to the bound; 0 where it is feasible (``n``)."""
        over = [np.maximum(self.figures[name] - bound, 0) / np.where(bound > 0, bound, 1) for name, bound in self.bounds.items()]
        return np.asarray(sum(over, np.zeros(len(self.figures["latency_s"]))))

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Which designs keep every bound (``n``)."""
        return np.asarray(self.excess == 0)

    @cached_property
    def front(self) -> list[int]:
        """The feasible designs that no other one dominates, by the first objective; of equal ones that which needs least."""
        shares = sum(
            (self.figures[name] / np.where(bound > 0, bound, 1) for name, bound in self.bounds.items()), np.zeros(len(self.excess))
        )
        order = np.flatnonzero(self.feasible)
        order = order[np.argsort(shares[order], kind="stable")]
        points = np.stack([self.figures[name][order] for name in self.objectives], axis=1)
        best = order[nondominated(points)]
        places: list[int] = best[np.argsort(self.figures[self.objectives[0]][best], kind="stable")].tolist()
        return places

    def design(self, place: int) -> dict[str, Any]:
        """One design as plain JSON data."""
        aside = {*PRICES, *self.disturbances}
        limits = {name: float(bound[place]) for name, bound in self.bounds.items() if name not in aside and bound[place] > 0}
        return {
            "parameters": {key: values[place] for key, values in self.columns.items()},
            **{name: float(self.figures[name][place]) for name in PRICES},
            "resources": {name: {"used": float(self.figures[name][place]), "limit": limit} for name, limit in limits.items()},
            **({"disturbances": {name: float(self.figures[name][place]) for name in self.disturbances}} if self.disturbances else {}),
        }

    def table(self) -> pa.Table:
        """Every design as a row: its parameters, its figures, whether it is feasible and whether on the front."""
        flags = {"feasible": pa.array(self.feasible), "on_front": pa.array(np.isin(np.arange(len(self.excess)), self.front))}
        parameters = {f"design/{key}": pa.array(values) for key, values in self.columns.items()}
        return pa.table(parameters | {name: pa.array(values) for name, values in self.figures.items()} | flags)

    def closest(self) -> str:
        """What the design that comes closest to its bounds is over, for a sweep without a feasible one."""
        place = int(self.excess.argmin())
        over = [
            f"{self.figures[name][place]:.5g} {name}, where {bound[place]:.5g} is the limit"
            for name, bound in self.bounds.items()
            if self.figures[name][place] > bound[place]
        ]
        parameters = ", ".join(f"{key} {values[place]}" for key, values in self.columns.items())
        return f"None of {len(self.excess)} designs keeps the limits; the closest ({parameters}) has {'; '.join(over)}."


def explore(
    device: Adjustable,
    workload: Workload,
    *,
    limits: Mapping[str, float] | None = None,
    no_worse: Sequence[str] = (),
    objectives: Sequence[str] = (),
) -> Exploration:
    """Price a network on every combination of a device's axes.

    Args:
        device: what is varied.
        workload: the network (``l``).
        limits: the most that is allowed of a price, a resource or a disturbance, beside what the device has of each resource.
        no_worse: disturbances that are limited to the device's own where nothing else is said.
        objectives: figures to be small; none for latency, energy, and area where the device has a model of it.

    Raises:
        ConfigError: if there are too many designs.
        UnknownNameError: if a limit or an objective is no price, resource or disturbance.
        UnreachableLimitError: if no design keeps the limits; names the closest one.
    """
    count = math.prod(map(len, device.axes.values()))
    if count > MOST:
        raise ConfigError(f"A sweep may have {MOST:,} designs, but these axes have {count:,} combinations; take fewer values.")
    columns = grid(device.axes)
    slices = [{key: values[at : at + SLICE] for key, values in columns.items()} for at in range(0, count, SLICE)]
    sizes = [len(next(iter(some.values()))) for some in slices]
    priced = [_figures(device.estimate_designs(some, workload)) for some in slices]
    figures, bounds = (_joined([part[i] for part in priced], sizes) for i in (0, 1))
    disturbed = _joined([device.disturb_designs(some, workload) for some in slices], sizes)
    own: dict[str, Any] = {**_figures(device.estimate(workload))[0], **(device.nonidealities(workload) or {})}
    most = {name: float(own[name]) for name in no_worse} | dict(limits or {})
    for name in (*most, *objectives):
        if name not in figures | disturbed:
            raise UnknownNameError("price, resource or disturbance", name, figures | disturbed)
    bounds |= {name: np.minimum(bounds.get(name, np.inf), np.full(count, limit)) for name, limit in most.items()}
    wanted = tuple(objectives) or tuple(name for name in PRICES if name != "area_mm2" or figures[name].any())
    disturbed = {name: values for name, values in disturbed.items() if name in {*most, *objectives} or np.ptp(values) > 0}
    found = Exploration(columns, figures | disturbed, bounds, tuple(disturbed), wanted, {n: float(value) for n, value in own.items()})
    if not found.feasible.any():
        raise UnreachableLimitError(found.closest())
    return found


def _figures(report: CostReport) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """What designs cost and need, and what they have, ``b`` each."""
    shape = report.total_latency_s.shape
    prices = {"latency_s": report.total_latency_s, "energy_j": report.total_energy_j, "area_mm2": report.area_mm2}
    figures = {name: np.broadcast_to(values, shape) for name, values in (prices | dict(report.resources)).items()}
    return figures, {name: np.broadcast_to(np.asarray(limit, float), shape) for name, limit in report.limits.items()}


def _joined(parts: Sequence[Mapping[str, Floats]], sizes: Sequence[int]) -> dict[str, Floats]:
    """The columns of several tables one below the other; 0 where a table does not have one."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: np.concatenate([part.get(name, np.zeros(n)) for part, n in zip(parts, sizes, strict=True)]) for name in names}
