"""The rules that every device parameter obeys; they are read off the annotations and names of the dataclass fields."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hwmodels.errors import DeviceError


def parameter_types(model: type) -> dict[str, Any]:
    """Field name to type of a hardware model's dataclass."""
    return get_type_hints(model)


def complaint(name: str, kind: Any, value: object) -> str | None:
    """What is wrong with one parameter, or None.

    Counts (``int``) start at 1, quantities (``float``) at 0, ``_fraction`` ends at 1, and rates (``_hz``, ``_per_s``) are above 0.
    """
    if get_origin(kind) is Literal:
        return None if value in get_args(kind) else f"must be one of {', '.join(get_args(kind))}"
    if kind in {bool, str}:
        return None if isinstance(value, kind) else f"must be {'true or false' if kind is bool else 'text'}"
    if kind is int and (not isinstance(value, int) or isinstance(value, bool)):
        return "must be a whole number"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "must be a number"
    return _range_complaint(name, kind, value)


def _range_complaint(name: str, kind: Any, value: float) -> str | None:
    if kind is int:
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
    for name, kind in parameter_types(type(model)).items():
        value = getattr(model, name)
        wrong = complaint(name, kind, value)
        if wrong:
            raise DeviceError(f"`{name}` {wrong}, but is {value!r}.")
