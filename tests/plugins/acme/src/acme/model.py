"""VectorProcessor: a roofline of one vector unit and one memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels import CostReport, Workload


@dataclass(frozen=True)
class VectorProcessor:
    """Computes ``lanes`` MACs per cycle up to 8 bit, half as many above; every operand passes the memory once.

    Attributes:
        lanes: multipliers.
        clock_hz: of the vector unit.
        bytes_per_s: of the memory.
        mac_energy_j, byte_energy_j: of one MAC and of one byte moved.
        memory_bytes: what the weights must fit into.
    """

    lanes: int = 64
    clock_hz: float = 5e8
    bytes_per_s: float = 4e9
    mac_energy_j: float = 1e-12
    byte_energy_j: float = 2e-10
    memory_bytes: float = 64e6

    name = "acme"

    def estimate(self, workload: Workload) -> CostReport:
        """The longer of computing and moving, layer by layer."""
        wide = np.maximum(workload.weight_bits, workload.activation_bits) > 8
        cycles = np.ceil(workload.macs / self.lanes) * np.where(wide, 2, 1)
        maps = workload.in_channels * workload.in_h * workload.in_w + workload.out_channels * workload.out_h * workload.out_w
        moved_bits = workload.weight_storage_bits + maps * workload.batch * workload.activation_bits * workload.used
        moved = np.where(workload.used, moved_bits / 8, 0.0)
        latency_s = np.maximum(cycles / self.clock_hz, moved / self.bytes_per_s)
        peak = self.lanes * self.clock_hz
        return CostReport(
            names=workload.names,
            latency_s=latency_s,
            energy_parts_j={"mac": workload.macs * self.mac_energy_j, "memory": moved * self.byte_energy_j},
            cycles=cycles,
            utilization=workload.macs / np.maximum(latency_s * peak, 1e-30),
            dram_bytes=moved,
            resources={"bytes of weights": workload.weight_storage_bits.sum(-1) / 8},
            limits={"bytes of weights": self.memory_bytes},
        )

    def nonidealities(self, workload: Workload) -> None:
        """None: digital arithmetic is exact."""
