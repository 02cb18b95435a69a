"""What one would vary on a device."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from hwmodels import CostReport, DeviceError, Workload, device_names, load_device
from hwmodels.axes import default_axes, no_worse
from hwmodels.design import DesignSpace, own_value
from hwmodels.device_files import FAMILIES


@pytest.mark.parametrize("device", sorted(device_names()))
def test_the_axes_of_a_family_fit_each_of_its_devices_and_hold_its_own_values(device: str) -> None:
    model = load_device(device)
    axes = default_axes(model)
    assert all(own_value(model, key) in values for key, values in axes.items())
    assert all(len(values) > 1 for values in axes.values())
    DesignSpace(model, axes)  # checks keys and values


def test_every_family_has_axes() -> None:
    assert {family for family in device_names().values()} <= set(FAMILIES)
    for device in device_names():
        assert default_axes(load_device(device))


def test_what_is_fixed_is_no_axis_whatever_its_unit() -> None:
    model = load_device("eyeriss")
    assert "buffer_kb" in default_axes(model)
    assert not {"pes", "buffer_kb"} & set(default_axes(model, fixed=["pes", "buffer_mb"]))
    with pytest.raises(DeviceError, match=r"Every axis of the family sparse \(pes, lanes, buffer_kb\) is fixed on 'eyeriss'"):
        default_axes(model, fixed=["pes", "lanes", "buffer_kb"])


def test_converters_shall_not_round_more_coarsely() -> None:
    assert no_worse(load_device("isaac")) == ("adc_step",)
    assert no_worse(load_device("isaac", axes={"rows": [64, 128]})) == ("adc_step",)
    assert no_worse(load_device("zcu102")) == ()


@dataclass(frozen=True)
class Foreign:
    """A plug-in's model."""

    name: str = "foreign"

    def estimate(self, workload: Workload) -> CostReport:
        return load_device("zcu102").estimate(workload)

    def nonidealities(self, workload: Workload) -> None:
        return None


def test_a_plug_in_names_its_axes_itself() -> None:
    with pytest.raises(DeviceError, match="name those of 'foreign'"):
        default_axes(Foreign())
    assert no_worse(Foreign()) == ()
