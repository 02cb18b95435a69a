"""load_device: the one call that makes a hardware model of a device file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hwmodels.cost import HardwareModel
from hwmodels.design import DesignSpace
from hwmodels.device_files import read_device


def load_device(
    device: str, parameters: Mapping[str, object] | None = None, axes: Mapping[str, Sequence[Any]] | None = None
) -> HardwareModel:
    """The hardware model of a device.

    Args:
        device: a shipped device's name, or the path of a YAML file.
        parameters: keys of the file with other values, in the units that stand in the keys. Where the model allows it, an array
            (``b``) gives every candidate a value of its own.
        axes: keys that are left open, each with the values that it may take; the model is then a `hwmodels.design.DesignSpace`.

    Raises:
        DeviceError: one line with file, key and value, if the device is unknown, the file unreadable or a key missing,
            unknown, of the wrong type or out of range.
    """
    model = read_device(device, parameters)
    return DesignSpace(model, axes, tuple(parameters or ())) if axes else model
