"""Residuals: from the errors on published rows to one factor per device family and kind of price."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from hwmodels.validation.compare import Comparison
from hwmodels.validation.metrics import quantity_of
from hwmodels.validation.rows import PublishedRow

COVERED: Final = 0.9  # share of the rows that the factor must cover
LEAST_ROWS: Final = 3  # fewer say nothing about a family

_FPGA_ENGINES: Final = (
    "Zhang15", "Qiu16", "Ma17", "Wei17-systolic", "Intel-DLA", "Lu17-Winograd", "Suda16", "Caffeine",
    "yolov2-hls-A", "yolov2-hls-C", "yolov2-hls-old",
)  # fmt: skip
# The published systems that speak for each family of devices. The simulators SCALE-Sim and BitFusion are none of them: our models count
# as they do, so that their rows are met and say nothing about silicon. Around its cycles, the systolic family shares
# everything with the unrolled engines (tiles, block RAM, DRAM), whose errors therefore stand for it. ESE queues like EIE.
SYSTEMS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "systolic": _FPGA_ENGINES,
        "unrolled": _FPGA_ENGINES,
        "streaming": ("FINN",),
        "sparse_fpga": ("ESE", "EIE"),
        "sparse": ("EIE", "Eyeriss", "EyerissV2-PE", "DSTC", "SCNN", "Cnvlutin"),
        "dense": ("TPUv1",),
        "crossbar": ("NeuRRAM", "ISAAC", "DNN+NeuroSim-V1.3", "MNSIM-2.0"),
    }
)
_TIMES: Final = ("latency", "throughput", "frame rate", "cycles")
_ENERGIES: Final = ("energy", "energy per image", "energy per operation", "power", "efficiency", "frames per joule")
_WORDS: Final = (("energy", "energy"), ("speedup", "latency"), ("latency", "latency"))  # of metrics whose unit is a ratio or arbitrary


def kind_of(row: PublishedRow) -> str | None:
    """The price that a figure speaks about: ``latency`` (rates and cycles included), ``energy`` (power included), or neither."""
    quantity = quantity_of(row.unit)
    if quantity in _TIMES:
        return "latency"
    if quantity in _ENERGIES:
        return "energy"
    return None if quantity else next((kind for word, kind in _WORDS if word in row.metric), None)


def factors(comparisons: Iterable[Comparison]) -> dict[str, dict[str, float]]:
    """Device family to ``latency`` and ``energy``: the factor within which nine of ten rows lie, rounded up to a hundredth.

    A row lies within the factor ``f`` if ``1/f <= modelled/measured <= f``. Recalled rows count, too: no constant was fitted to most of
    them, so that without them the factors would be too small. Kinds with fewer than `LEAST_ROWS` rows are left out.
    """
    ratios: dict[str, dict[str, list[float]]] = {family: {"latency": [], "energy": []} for family in SYSTEMS}
    for comparison in comparisons:
        row, kind = comparison.row, kind_of(comparison.row)
        if kind and comparison.modelled:
            ratio = comparison.modelled / row.value
            for family in (name for name, systems in SYSTEMS.items() if row.system in systems):
                ratios[family][kind].append(max(ratio, 1 / ratio))
    found = {family: {kind: _covering(r) for kind, r in kinds.items() if len(r) >= LEAST_ROWS} for family, kinds in ratios.items()}
    return {family: kinds for family, kinds in found.items() if kinds}


def _covering(ratios: Sequence[float]) -> float:
    """The smallest of the ratios (at least 1 each) that is not exceeded by `COVERED` of them."""
    return math.ceil(100 * sorted(ratios)[math.ceil(COVERED * len(ratios)) - 1] - 1e-9) / 100
