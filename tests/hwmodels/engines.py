"""A small engine and a layer for it, whose prices can be worked out by hand."""

from __future__ import annotations

from hwmodels import Workload
from hwmodels.unrolled import UnrolledEngine

DEVICE = UnrolledEngine(
    name="toy",
    filters=8,
    channels=4,
    clock_hz=1e8,
    max_bits=16,
    dsp_type="dsp48e2",
    dsps=1000,
    luts=100_000,
    ffs=200_000,
    bram18=500,
    dram_bytes_per_s=1e12,
    dram_latency_s=0.0,
    burst_bytes=1024,
    burst_overhead_bytes=0.0,
    mac_energy_j=2e-12,
    sram_energy_j_per_bit=1e-12,
    dram_energy_j_per_bit=1e-11,
    static_power_w=1.0,
)


def conv(bits: int = 16, **changes: object) -> Workload:
    """10 -> 20 channels, 3x3, 12x12 pixels: 259 200 MACs."""
    fields: dict[str, object] = {
        "in_channels": [10],
        "out_channels": [20],
        "kernel_h": [3],
        "kernel_w": [3],
        "in_h": [12],
        "in_w": [12],
        "out_h": [12],
        "out_w": [12],
        "weight_bits": [bits],
        "activation_bits": [bits],
    }
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]
