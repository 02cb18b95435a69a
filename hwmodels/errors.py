"""Errors that hwmodels raises; every message is one line: the rule, the values, the way out.

HardwareError (ValueError)
├── WorkloadError      a layer table that cannot exist
└── DeviceError        a device file or parameter that cannot be used
"""

from __future__ import annotations


class HardwareError(ValueError):
    """Base of everything that hwmodels raises on bad input."""


class WorkloadError(HardwareError):
    """A layer table breaks one of its rules."""


class DeviceError(HardwareError):
    """A device is unknown, or its file or a parameter breaks a rule."""
