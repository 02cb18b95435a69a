"""hwmodels prices neural networks on hardware: latency, energy and resources, closed form and vectorised.

Names are imported when they are first used, so that `import hwmodels` costs little more than numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwmodels.cost import CostReport, HardwareModel, price
    from hwmodels.dataflow import systolic_cycles
    from hwmodels.design import estimate_designs
    from hwmodels.device_files import device_description, device_names
    from hwmodels.devices import load_device
    from hwmodels.errors import DeviceError, HardwareError, WorkloadError
    from hwmodels.workload import Op, Pattern, Workload

_HOME = {
    "CostReport": "cost",
    "DeviceError": "errors",
    "HardwareError": "errors",
    "HardwareModel": "cost",
    "Op": "workload",
    "Pattern": "workload",
    "Workload": "workload",
    "WorkloadError": "errors",
    "device_description": "device_files",
    "device_names": "device_files",
    "estimate_designs": "design",
    "load_device": "devices",
    "price": "cost",
    "systolic_cycles": "dataflow",
}

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
    "estimate_designs",
    "load_device",
    "price",
    "systolic_cycles",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hwmodels' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"hwmodels.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
