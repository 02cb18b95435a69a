"""Published rows and what recipes make of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from hwmodels.validation.reading import published_rows
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe


@dataclasses.dataclass(frozen=True)
class Recomputed:
    """The rows of some recipes.

    Attributes:
        family: whose rows.
        recipes: by system.
    """

    family: str
    recipes: Mapping[str, Recipe]

    @property
    def rows(self) -> list[PublishedRow]:
        """Those that a recipe is for."""
        return [row for row in published_rows(self.family) if row.system in self.recipes]

    def modelled(self, row: PublishedRow) -> float | None:
        """The model's figure; None where it has none."""
        try:
            return self.recipes[row.system](row)
        except CannotExpress:
            return None

    def row_of(self, system: str, **changes: object) -> PublishedRow:
        """The first row of a system, with some columns changed."""
        return dataclasses.replace(next(row for row in self.rows if row.system == system), **changes)  # type: ignore[arg-type]
