"""CostReport: what a hardware model answers; HardwareModel: the protocol that it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import HardwareError
from hwmodels.workload import Workload

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CostReport:
    """Prices of a workload, arrays ``... x l`` per layer and ``...`` per candidate.

    Attributes:
        names: the layer slots, as in the workload.
        latency_s: seconds that each layer adds to one pass, ``... x l``; the other arrays per layer are broadcast to its shape.
        energy_parts_j: joules of each layer by part (``mac``, ``sram``, ``dram``, ``static``, ...), ``... x l`` each.
        cycles: clock cycles of each layer, ``... x l``.
        utilization: share of the peak MAC rate that is used, in [0, 1], ``... x l``.
        dram_bytes: bytes moved to and from off-chip memory, ``... x l``.
        area_mm2: silicon area of the device, ``...`` or scalar; 0 where the family has no area model.
        resources: what each candidate needs of a limited resource, ``...`` each, in the resource's own unit.
        limits: what the device has of it, ``...`` or scalar; a candidate is feasible when no resource exceeds its limit.
        uncertainty: factors (``latency``, ``energy``) within which published measurements lie; empty where none are known.

    Area, resources and limits of a device with array parameters may come as ``... x 1``.

    Raises:
        HardwareError: if a price is negative or not finite, naming the layer.
    """

    names: tuple[str, ...]
    latency_s: Floats
    energy_parts_j: Mapping[str, Floats]
    cycles: Floats
    utilization: Floats
    dram_bytes: Floats
    area_mm2: Floats = field(default_factory=lambda: np.zeros(()))
    resources: Mapping[str, Floats] = field(default_factory=dict)
    limits: Mapping[str, float | Floats] = field(default_factory=dict)
    uncertainty: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = {"latency_s": self.latency_s, "cycles": self.cycles, "utilization": self.utilization}
        arrays |= {"dram_bytes": self.dram_bytes} | {f"energy {part}": a for part, a in self.energy_parts_j.items()}
        for name, array in arrays.items():
            # min and max see every NaN and infinity at a fifth of the cost of isfinite().all()
            if array.size and not (array.min() >= 0 and array.max() < np.inf):
                layer = np.argwhere(~((array >= 0) & (array < np.inf)))[0][-1]
                value = array[~((array >= 0) & (array < np.inf))][0]
                raise HardwareError(f"A price must be finite and not negative, but {name} of layer '{self.names[layer]}' is {value:g}.")
        self._broadcast()

    def _broadcast(self) -> None:
        """Give what a model computed in fewer dimensions the shape of the latency, as views."""
        shape = self.latency_s.shape
        for name in ("cycles", "utilization", "dram_bytes"):
            object.__setattr__(self, name, np.broadcast_to(getattr(self, name), shape))
        object.__setattr__(self, "energy_parts_j", {part: np.broadcast_to(a, shape) for part, a in self.energy_parts_j.items()})
        object.__setattr__(self, "area_mm2", self._per_candidate(self.area_mm2))
        for name in ("resources", "limits"):
            object.__setattr__(self, name, {key: self._per_candidate(value) for key, value in getattr(self, name).items()})

    def _per_candidate(self, value: float | Floats) -> float | Floats:
        """Without the layer axis that array parameters bring along."""
        return value[..., 0] if isinstance(value, np.ndarray) and value.ndim == self.latency_s.ndim else value

    @cached_property
    def energy_j(self) -> Floats:
        """Joules of each layer, the sum of its parts, ``... x l``."""
        return np.asarray(sum(self.energy_parts_j.values(), np.zeros(self.latency_s.shape)))

    @cached_property
    def total_latency_s(self) -> Floats:
        """Seconds of one pass, ``...``."""
        return np.asarray(self.latency_s.sum(-1))

    @cached_property
    def total_energy_j(self) -> Floats:
        """Joules of one pass, ``...``."""
        return np.asarray(self.energy_j.sum(-1))

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Whether the device can hold each candidate, ``...``."""
        fits = np.ones(self.total_latency_s.shape, bool)
        for name, need in self.resources.items():
            fits = fits & (need <= self.limits[name])
        return np.asarray(fits)

    def reasons(self, index: int | tuple[int, ...] = ()) -> tuple[str, ...]:
        """Why one candidate does not fit, a line for each resource that is exceeded; empty where it fits."""
        lead = self.total_latency_s.shape
        needs, limits = ({name: np.broadcast_to(v, lead)[index] for name, v in table.items()} for table in (self.resources, self.limits))
        return tuple(f"needs {need:g} {name}, the device has {limits[name]:g}" for name, need in needs.items() if need > limits[name])


@runtime_checkable
class HardwareModel(Protocol):
    """A price list: pure, deterministic, vectorised over the workload's candidate axes."""

    @property
    def name(self) -> str:
        """The device's name."""

    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""

    def nonidealities(self, workload: Workload) -> Mapping[str, float] | None:
        """What the device does to the numbers it computes (RRAM variation, ADC steps), as plain data; None if nothing."""


def price(model: HardwareModel, workload: Workload) -> CostReport:
    """Ask any model for its prices, a plug-in's that may be broken too.

    Raises:
        HardwareError: one line that names the model, if it raises, answers with something else than a report, or with a price that is
            negative or not finite.
    """
    try:
        report: object = model.estimate(workload)
    except HardwareError as error:
        if f"'{model.name}'" in str(error):
            raise
        raise type(error)(f"Hardware model '{model.name}': {error}") from None
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise HardwareError(f"Hardware model '{model.name}' must price every workload, but raised {what}.") from error
    if not isinstance(report, CostReport):
        raise HardwareError(f"Hardware model '{model.name}' must answer with a CostReport, but answered with {type(report).__name__}.")
    return report
