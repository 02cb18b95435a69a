"""Every shipped device keeps the contract of a hardware model."""

from __future__ import annotations

import pytest

from hwmodels import HardwareModel, device_names, load_device
from hwmodels.testing import HardwareModelContract


@pytest.fixture(params=list(device_names()))
def model(request: pytest.FixtureRequest) -> HardwareModel:
    return load_device(request.param)


class TestShippedDevices(HardwareModelContract):
    """One run per device."""
