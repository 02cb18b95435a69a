"""Comparing: every published row recomputed, and how well a family, a system or a metric is met."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from hwmodels.errors import HardwareError
from hwmodels.validation.ranks import kendall_tau
from hwmodels.validation.recipes import recompute_row
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe

Key = TypeVar("Key", bound=Hashable)
TableKey: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True)
class Comparison:
    """One row beside our model's figure.

    Attributes:
        row: what was published.
        modelled: in the row's unit; None where the row was skipped.
        skipped_reason: why; empty where it was not skipped.
    """

    row: PublishedRow
    modelled: float | None
    skipped_reason: str = ""

    @property
    def relative_error(self) -> float | None:
        """``modelled / measured - 1``; above 0 where the model says more. None where skipped."""
        return None if self.modelled is None else self.modelled / self.row.value - 1


@dataclass(frozen=True)
class Agreement:
    """How well some rows are met. Only confirmed and cross-checked rows count, unless it says otherwise.

    Attributes:
        rows: that count.
        mean_abs_error: mean of ``|modelled / measured - 1|``; None without rows.
        worst: the largest of them; None without rows.
        worst_id: the row that it belongs to.
        kendall_tau: rank agreement within tables, see `hwmodels.validation.ranks.kendall_tau`.
        expressed: rows that a model could recompute, recalled ones included.
        skipped: rows that none could.
    """

    rows: int
    mean_abs_error: float | None
    worst: float | None
    worst_id: str | None
    kendall_tau: float | None
    expressed: int
    skipped: int


def compare(rows: Iterable[PublishedRow], recipe: Recipe = recompute_row) -> tuple[Comparison, ...]:
    """Recompute rows; one that cannot be recomputed, or whose recipe fails, is skipped with the reason and the rest goes on."""
    return tuple(_comparison(row, recipe) for row in rows)


def _comparison(row: PublishedRow, recipe: Recipe) -> Comparison:
    if row.value == 0:
        return Comparison(row, None, "the published figure is 0, which has no relative error")
    try:
        modelled = float(recipe(row))
    except CannotExpress as reason:
        return Comparison(row, None, str(reason))
    except HardwareError as error:
        return Comparison(row, None, f"failed: {error}")
    except Exception as error:  # whatever a plug-in or a recipe does wrong costs one row
        return Comparison(row, None, f"failed: {type(error).__name__}: {' '.join(str(error).split())}")
    if not math.isfinite(modelled):
        return Comparison(row, None, f"failed: the model's figure is {modelled}")
    return Comparison(row, modelled)


def table_key(comparison: Comparison) -> TableKey:
    """Rows with the same key can be ranked: one system's figures of one metric in one unit."""
    row = comparison.row
    return row.family, row.system, row.metric, row.unit


def agreement(comparisons: Sequence[Comparison]) -> Agreement:
    """How well these rows are met, all together."""
    expressed = [c for c in comparisons if c.modelled is not None]
    counted = [c for c in expressed if c.row.confirmed]
    errors = {c.row.id: abs(c.relative_error or 0.0) for c in counted}
    worst = max(errors, key=errors.__getitem__, default=None)
    tables = grouped(counted, table_key).values()
    return Agreement(
        rows=len(counted),
        mean_abs_error=math.fsum(errors.values()) / len(counted) if counted else None,
        worst=None if worst is None else errors[worst],
        worst_id=worst,
        kendall_tau=kendall_tau(([c.row.value for c in table], [c.modelled or 0.0 for c in table]) for table in tables),
        expressed=len(expressed),
        skipped=len(comparisons) - len(expressed),
    )


def grouped(comparisons: Iterable[Comparison], key: Callable[[Comparison], Key]) -> dict[Key, list[Comparison]]:
    """Rows with the same key together, in the order of their first row."""
    groups: dict[Key, list[Comparison]] = {}
    for comparison in comparisons:
        groups.setdefault(key(comparison), []).append(comparison)
    return groups
