"""Published figures, recomputed: how far each hardware model is from what was measured.

`rows` is what a recipe takes, `reading` reads rows from CSV files, and `metrics` reads a figure off a cost report by name and unit.
`fpga`, `fpga_streaming`, `asic`, `asic_dense` and `rram` hold a recipe for each published system, `custom` the one for rows that name
device and network themselves; `recipes` picks. `compare` puts rows beside our figures, with `ranks` for their order.
"""

from __future__ import annotations

from hwmodels.validation.compare import Agreement, Comparison, agreement, compare, grouped, table_key
from hwmodels.validation.reading import FAMILIES, RowError, published_rows, read_rows
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe

__all__ = [
    "FAMILIES",
    "Agreement",
    "CannotExpress",
    "Comparison",
    "PublishedRow",
    "Recipe",
    "RowError",
    "agreement",
    "compare",
    "grouped",
    "published_rows",
    "read_rows",
    "table_key",
]
