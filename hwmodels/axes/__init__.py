"""How one would begin to explore a device: a YAML file per family.

``axes`` names keys of the family's device files with lists of values. ``no_worse`` names figures of `nonidealities` that latency,
energy and area do not see; a design in which one of them is worse than on the device as it is would look cheap for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, Final

import yaml

from hwmodels.cost import HardwareModel
from hwmodels.design import DesignSpace, Value, own_value
from hwmodels.device_files import FAMILIES, field_of
from hwmodels.errors import DeviceError
from hwmodels.parameters import parameter_types

_FOLDER: Final = Path(__file__).parent


def default_axes(model: HardwareModel, fixed: Sequence[str] = ()) -> dict[str, list[Value]]:
    """The axes of a device's family, each with the device's own value among the values.

    Args:
        model: a device.
        fixed: keys of its file that shall keep their value.

    Raises:
        DeviceError: if the model belongs to no family, or every axis of the family is fixed.
    """
    family = family_of(model)
    if family is None:
        raise DeviceError(f"Only the families {', '.join(FAMILIES)} have axes to begin with; name those of '{model.name}'.")
    kinds, listed = parameter_types(type(model)), _read(family)["axes"]
    kept = {field_of(key, kinds)[0] for key in fixed}
    axes = {key: _with(values, own_value(model, key)) for key, values in listed.items() if field_of(key, kinds)[0] not in kept}
    if not axes:
        raise DeviceError(f"Every axis of the family {family} ({', '.join(listed)}) is fixed on '{model.name}'; name others.")
    return axes


def no_worse(model: HardwareModel) -> tuple[str, ...]:
    """The nonidealities that no design should have more of than the device as it is."""
    family = family_of(model.base if isinstance(model, DesignSpace) else model)
    return tuple(_read(family).get("no_worse", ())) if family else ()


def family_of(model: HardwareModel) -> str | None:
    """The family that a model belongs to; None for a plug-in's own."""
    home = f"{type(model).__module__}:{type(model).__qualname__}"
    return next((family for family, place in FAMILIES.items() if place == home), None)


@cache
def _read(family: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((_FOLDER / f"{family}.yaml").read_text(encoding="utf-8"))
    return document


def _with(values: list[Value], own: Value) -> list[Value]:
    if own in values:
        return values
    return sorted([*values, own]) if isinstance(own, Real) else [own, *values]
