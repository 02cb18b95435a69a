"""The rules that every device parameter obeys; they are read off the annotations and names of the dataclass fields."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import cache
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from hwmodels.errors import DeviceError

Count: TypeAlias = int | NDArray[np.int64]
"""A whole number, or one per candidate as ``b x 1``, so that a device parameter is an axis like any other."""

Quantity: TypeAlias = float | NDArray[np.float64]
"""A number, or one per candidate as ``b x 1``."""

SCALARS: dict[Any, type] = {int: int, float: float, Count: int, Quantity: float}


@cache
def parameter_types(model: type) -> dict[str, Any]:
    """Field name to type of a hardware model's dataclass."""
    hints = get_type_hints(model)
    return {field.name: hints[field.name] for field in fields(model)}


def takes_arrays(kind: Any) -> bool:
    """Whether a parameter of this type may hold one value per candidate."""
    return kind in (Count, Quantity)


def complaint(name: str, kind: Any, value: object) -> str | None:
    """What is wrong with one parameter, or None.

    Counts start at 1 (widths in ``_bits`` end at 32), quantities at 0, ``_fraction`` ends at 1, and rates (``_hz``, ``_per_s``)
    are above 0. Every entry of an array obeys the same rules.
    """
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"must be one of {', '.join(map(str, get_args(kind)))}"
    if kind in {bool, str}:
        return None if isinstance(value, kind) else f"must be {'true or false' if kind is bool else 'text'}"
    if isinstance(value, np.ndarray) and takes_arrays(kind):
        return _array_complaint(name, kind, value)
    return _number_complaint(name, SCALARS[kind], value)


def _array_complaint(name: str, kind: Any, values: NDArray[Any]) -> str | None:
    if values.dtype == bool or not np.issubdtype(values.dtype, np.integer if SCALARS[kind] is int else np.number):
        return f"must hold {'whole numbers' if SCALARS[kind] is int else 'numbers'} only"
    if values.ndim != 2 or values.shape[1] != 1 or not values.size:
        return f"must hold one value per candidate (b x 1), with shape {values.shape}"
    wrong = (_number_complaint(name, SCALARS[kind], value) for value in (values.min().item(), values.max().item()))
    return next((text for text in wrong if text), None)


def _number_complaint(name: str, kind: type, value: object) -> str | None:
    if kind is int and (not isinstance(value, int) or isinstance(value, bool)):
        return "must be a whole number"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "must be a number"
    return _range_complaint(name, kind, value)


def _range_complaint(name: str, kind: type, value: float) -> str | None:
    if kind is int:
        if name.endswith("_bits") and value > 32:
            return "must be 1 to 32"
        return None if value >= 1 else "must be at least 1"
    if not math.isfinite(value) or value < 0:
        return "must be finite and not negative"
    if name.endswith(("_hz", "_per_s")) and value == 0:
        return "must be above 0"
    if name.endswith("_fraction") and value > 1:
        return "must be at most 1"
    return None


def check_parameters(model: Any) -> None:
    """Apply the rules to every field of a hardware model.

    Raises:
        DeviceError: on the first field that breaks one.
    """
    model_class: type = type(model)
    for name, kind in parameter_types(model_class).items():
        value = getattr(model, name)
        wrong = complaint(name, kind, value)
        if wrong:
            raise DeviceError(f"`{name}` {wrong}, but is {value!r}.")
