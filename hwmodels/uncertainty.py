"""Uncertainty: the factor within which published measurements lie of what a family of devices is charged."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Nine of ten rows of hwmodels/published lie within these factors; `hwmodels.validation.residuals` computes them, and a test keeps the
# two together. A family or kind of price without an entry has too few rows to say anything.
_FACTORS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "systolic": {"latency": 1.09},
        "unrolled": {"latency": 1.09},
        "streaming": {"latency": 1.12},
        "sparse_fpga": {"latency": 1.18},
        "sparse": {"latency": 1.10, "energy": 1.08},
        "dense": {"latency": 1.26},
        "crossbar": {"latency": 1.14, "energy": 1.19},
    }
)


def uncertainty(family: str) -> Mapping[str, float]:
    """Factors ``latency`` and ``energy`` of a device family, 1 or more each; what is not known is left out."""
    return MappingProxyType(dict(_FACTORS.get(family, {})))
