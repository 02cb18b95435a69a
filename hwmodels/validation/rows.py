"""PublishedRow: one figure that somebody measured, simulated or printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


class CannotExpress(Exception):  # noqa: N818  it is an answer, not a fault
    """A row that no model can recompute; the message says why, in one clause."""


@dataclass(frozen=True)
class PublishedRow:
    """A published figure, in the columns of the CSV files beside this package.

    Attributes:
        id: unique name.
        family: ``fpga``, ``asic`` or ``rram``.
        system: the accelerator, simulator or table that the figure is about; chooses the recipe.
        paper, device_tech, network, layer, metric, unit: as printed.
        value: the figure, in ``unit``.
        precision_bits: widths as printed, for example ``16``, ``w4a8``, ``in2/w4/out4``.
        batch: images per pass, None where the source does not say.
        clock_mhz: of the accelerator, None where the source does not say.
        units_text: processing elements, multipliers or DSP slices as printed.
        bandwidth_gb_per_s: off-chip, None where the source does not say.
        onchip_kb: on-chip memory as printed.
        other: further facts.
        source: where the figure was read.
        confidence: how surely it is known; empty where whoever wrote the row vouches for it.
    """

    id: str
    family: str
    system: str
    paper: str
    device_tech: str
    network: str
    layer: str
    metric: str
    unit: str
    value: float
    precision_bits: str
    batch: int | None
    clock_mhz: float | None
    units_text: str
    bandwidth_gb_per_s: float | None
    onchip_kb: str
    other: Mapping[str, Any]
    source: str
    confidence: str

    @property
    def confirmed(self) -> bool:
        """Whether the figure was seen in a source, or recalled and confirmed by arithmetic on others."""
        return not self.confidence or self.confidence.startswith("confirmed") or "cross-checked" in self.confidence


Recipe: TypeAlias = Callable[[PublishedRow], float]
"""Our model's figure for a row, in the row's own unit; raises `CannotExpress`."""
