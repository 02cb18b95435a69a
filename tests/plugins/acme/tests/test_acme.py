"""The plug-in keeps the contract of a hardware model."""

import pytest
from acme import VectorProcessor

from hwmodels.testing import HardwareModelContract


class TestAcme(HardwareModelContract):
    """Every test of the contract, on this model."""

    @pytest.fixture
    def model(self) -> VectorProcessor:
        """The model as its configuration file builds it."""
        return VectorProcessor(lanes=64)
