"""hwmodels prices neural networks on hardware: latency, energy and resources, closed form and vectorised."""

from __future__ import annotations

from hwmodels.cost import CostReport, HardwareModel
from hwmodels.dataflow import systolic_cycles
from hwmodels.devices import device_description, device_names, load_device
from hwmodels.errors import DeviceError, HardwareError, WorkloadError
from hwmodels.workload import Op, Pattern, Workload

__all__ = [
    "CostReport",
    "DeviceError",
    "HardwareError",
    "HardwareModel",
    "Op",
    "Pattern",
    "Workload",
    "WorkloadError",
    "device_description",
    "device_names",
    "load_device",
    "systolic_cycles",
]
