"""The registry: which recipe recomputes a row. Families are imported when a row asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Final

from hwmodels.validation.custom import is_custom, recompute
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe

_MODULES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"fpga": ("fpga", "fpga_streaming"), "asic": ("asic", "asic_dense"), "rram": ("rram",)}
)
_OWN: Final = "for hardware of your own, name `device` and `model` in other_params"


@cache
def recipes(family: str) -> Mapping[str, Recipe]:
    """System to recipe, of one family."""
    found: dict[str, Recipe] = {}
    for module in _MODULES[family]:
        found |= import_module(f"hwmodels.validation.{module}").RECIPES
    return MappingProxyType(found)


def recompute_row(row: PublishedRow) -> float:
    """Our model's figure for a row, in the row's own unit.

    Raises:
        CannotExpress: if there is no recipe for the row's system, or the recipe refuses the row.
    """
    if is_custom(row):
        return recompute(row)
    known = recipes(row.family)
    if row.system not in known:
        raise CannotExpress(f"no recipe for system '{row.system}'; known: {', '.join(known)}; {_OWN}")
    return known[row.system](row)
