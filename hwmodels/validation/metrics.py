"""Metrics: a published figure's name and unit, read off a cost report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from hwmodels.cost import CostReport
from hwmodels.validation.rows import CannotExpress
from hwmodels.workload import Workload

_PREFIXES: Final = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}

# The base unit without its prefix, the quantity that it measures and the size of the base unit in that of the quantity.
_BASES: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
        "s": ("latency", 1.0),
        "J": ("energy", 1.0),
        "J/img": ("energy per image", 1.0),
        "J/OP": ("energy per operation", 1.0),
        "J/MAC": ("energy per operation", 0.5),
        "W": ("power", 1.0),
        "OPS": ("throughput", 1.0),
        "OPS/W": ("efficiency", 1.0),
        "OPS/mm2": ("density", 1.0),
        "img/s": ("frame rate", 1.0),
        "img/s/W": ("frames per joule", 1.0),
        "img/J": ("frames per joule", 1.0),
        "cycles": ("cycles", 1.0),
        "B": ("off-chip traffic", 1.0),
        "B/img": ("off-chip traffic per image", 1.0),
    }
)
_WHOLE: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(  # units that take no prefix, or not the usual one
    {"mm2": ("area", 1.0), "um2": ("area", 1e-6), "%": ("utilization", 0.01), "fraction": ("utilization", 1.0)}
)
_SPELLINGS: Final = (  # what papers print, and the one spelling that is used here
    (r"[µμ]", "u"),
    (r"²|\^2", "2"),
    (r"\bsec\b|\bseconds?\b", "s"),
    (r"images?|imgs|frames?", "img"),
    (r"\bfps\b", "img/s"),
    (r"(FL)?OP(S|/s)?/s\b", "OPS"),  # GOPS/s is a common slip for GOPS
    (r"FLOP", "OP"),
    (r"/op\b", "/OP"),
    (r"\bcycle\b", "cycles"),
    (r"^KB", "kB"),
)


def figure(report: CostReport, workload: Workload, metric: str, unit: str, batch: int | None = None) -> float:
    """One figure of a priced network, in a unit as papers print it.

    ``latency``, ``energy``, ``cycles`` and traffic are those of one pass, all images of the batch together, unless the unit says per
    image. An operation is half a multiply-accumulate, zeros included. ``PART energy`` is one part of the energy, as in the report; a
    resource of the report (``DSP``, ``BRAM18``, ...) is a metric whose unit is ``count``.

    Args:
        report: of one candidate, arrays of shape ``l``.
        workload: what was priced.
        metric: latency, throughput, frame rate, energy, power, efficiency, cycles, area, ...: see `_QUANTITIES`; case does not matter.
        unit: with an SI prefix: ms, us, GOP/s, TOPS/W, fps, img/s/W, uJ, mJ/image, pJ/MAC, mW, cycles, MB/image, mm2, ...
        batch: images per pass; None for the workload's own.

    Raises:
        CannotExpress: if the metric or unit is unknown, or the two do not belong together.
    """
    name = " ".join(metric.lower().replace("_", " ").split())
    if unit in {"", "-", "count"}:
        return _resource(report, metric.strip())
    quantity, scale = _quantity(unit)
    images = float(workload.batch.max()) if batch is None else float(batch)
    names, measure = _QUANTITIES[quantity]
    if name in names:
        return measure(report, workload, images) / scale
    if quantity == "energy":
        return _energy_part(report, name) / scale
    raise CannotExpress(f"metric '{metric}' in {unit} is none of {', '.join(names)}")


def quantity_of(unit: str) -> str | None:
    """What a unit measures, for example ``latency`` for ms; None where it is no unit of this module."""
    try:
        return _quantity(unit)[0]
    except CannotExpress:
        return None


def _quantity(unit: str) -> tuple[str, float]:
    """What a unit measures, and its size in that quantity's own unit."""
    spelled = unit.strip()
    for printed, used in _SPELLINGS:
        spelled = re.sub(printed, used, spelled)
    if spelled in _WHOLE:
        return _WHOLE[spelled]
    for prefix, factor in _PREFIXES.items():
        base = _BASES.get(spelled.removeprefix(prefix)) if spelled.startswith(prefix) else None
        if base is not None:
            return base[0], base[1] * factor
    raise CannotExpress(f"unit '{unit}' is unknown")


def _energy_part(report: CostReport, name: str) -> float:
    part = name.removesuffix(" energy")
    if part == name or part not in report.energy_parts_j:
        raise CannotExpress(f"metric '{name}' is no energy, nor one of its parts {', '.join(report.energy_parts_j)}")
    return float(report.energy_parts_j[part].sum())


def _resource(report: CostReport, name: str) -> float:
    needs = {key.lower(): value for key, value in report.resources.items()}
    if name.lower() not in needs:
        raise CannotExpress(f"metric '{name}' is no resource of the device, which are {', '.join(report.resources) or 'none'}")
    return float(needs[name.lower()])


def _operations(workload: Workload) -> float:
    return 2.0 * float(workload.macs.sum())


def _mean_utilization(report: CostReport) -> float:
    """Over the pass's time: layers weigh as much as they last."""
    return float((report.utilization * report.latency_s).sum() / report.total_latency_s)


_Measure: TypeAlias = Callable[[CostReport, Workload, float], float]

# What the ``metric`` column may call each quantity, and how it is read off a report; ``n`` is the images of a pass.
_QUANTITIES: Final[Mapping[str, tuple[tuple[str, ...], _Measure]]] = MappingProxyType(
    {
        "latency": (("latency", "time", "delay", "total latency", "runtime"), lambda r, w, n: float(r.total_latency_s)),
        "energy": (("energy", "total energy"), lambda r, w, n: float(r.total_energy_j)),
        "energy per image": (("energy", "total energy"), lambda r, w, n: float(r.total_energy_j) / n),
        "energy per operation": (("energy",), lambda r, w, n: float(r.total_energy_j) / _operations(w)),
        "power": (("power", "average power"), lambda r, w, n: float(r.total_energy_j) / float(r.total_latency_s)),
        "throughput": (("throughput", "performance"), lambda r, w, n: _operations(w) / float(r.total_latency_s)),
        "efficiency": (("efficiency", "energy efficiency", "power efficiency"), lambda r, w, n: _operations(w) / float(r.total_energy_j)),
        "density": (("density", "area efficiency"), lambda r, w, n: _operations(w) / float(r.total_latency_s) / float(r.area_mm2)),
        "frame rate": (("frame rate", "throughput"), lambda r, w, n: n / float(r.total_latency_s)),
        "frames per joule": (("efficiency", "energy efficiency"), lambda r, w, n: n / float(r.total_energy_j)),
        "cycles": (("cycles", "compute cycles", "latency"), lambda r, w, n: float(r.cycles.sum())),
        "off-chip traffic": (("off-chip traffic", "dram traffic"), lambda r, w, n: float(r.dram_bytes.sum())),
        "off-chip traffic per image": (("off-chip traffic", "dram traffic"), lambda r, w, n: float(r.dram_bytes.sum()) / n),
        "area": (("area", "chip area"), lambda r, w, n: float(r.area_mm2)),
        "utilization": (("utilization",), lambda r, w, n: _mean_utilization(r)),
    }
)
