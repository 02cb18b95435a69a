"""Holding the hardware models against published figures, or against a user's own measurements."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table
from autocomp.errors import UnknownNameError
from hwmodels.validation import FAMILIES, Agreement, Comparison, agreement, compare, grouped, published_rows, read_rows, table_key

COLUMNS = ("id", "system", "what", "measured", "modelled", "error")
SUMMARY_COLUMNS = ("family", "rows", "mean error", "worst", "rank agreement", "recomputed", "skipped", "worst row")
NOTE = (
    "Errors and rank agreement (Kendall's tau within system and metric) are those of confirmed and cross-checked rows; "
    "~ marks a figure that was only recalled."
)


def validate(family: str | None, file: Path | None, *, as_json: bool) -> None:
    """Recompute published rows and print them beside what was measured.

    Args:
        family: of hardware; None for all.
        file: with rows of the user's own, in place of the published ones.
        as_json: JSON instead of tables.

    Raises:
        UnknownNameError: if there is no such family.
        RowError: if the file cannot be read or breaks a rule of the format.
    """
    if family is not None and family not in FAMILIES:
        raise UnknownNameError("hardware family", family, FAMILIES)
    rows = published_rows(family) if file is None else read_rows(file)
    comparisons = compare(row for row in rows if family in {None, row.family})
    families = {name: agreement(members) for name, members in grouped(comparisons, lambda c: c.row.family).items()}
    if as_json:
        tables = [_table(members) for members in grouped(comparisons, table_key).values()]
        summaries = {name: dataclasses.asdict(summary) for name, summary in families.items()}
        print_json({"rows": [_plain(c) for c in comparisons], "families": summaries, "tables": tables})
    else:
        _print(comparisons, families.items())


def _plain(comparison: Comparison) -> dict[str, Any]:
    """One row as JSON data."""
    row = comparison.row
    return {
        "id": row.id,
        "family": row.family,
        "system": row.system,
        "network": row.network,
        "layer": row.layer,
        "metric": row.metric,
        "unit": row.unit,
        "measured": row.value,
        "modelled": comparison.modelled,
        "relative_error": comparison.relative_error,
        "skipped_reason": comparison.skipped_reason or None,
        "confidence": row.confidence,
        "confirmed": row.confirmed,
        "source": row.source,
    }


def _table(members: Sequence[Comparison]) -> dict[str, Any]:
    """Agreement on one system's metric, as JSON data."""
    family, system, metric, unit = table_key(members[0])
    return {"family": family, "system": system, "metric": metric, "unit": unit, **dataclasses.asdict(agreement(members))}


def _print(comparisons: Sequence[Comparison], families: Iterable[tuple[str, Agreement]]) -> None:
    screen = console()
    expressed = [c for c in comparisons if c.modelled is not None]
    screen.print(table(COLUMNS, [_cells(c) for c in expressed], text_columns=3))
    skipped = [c for c in comparisons if c.modelled is None]
    if skipped:
        typer.echo("Not recomputed:")
    for (system, reason), members in grouped(skipped, lambda c: (c.row.system, c.skipped_reason)).items():
        typer.echo(f"  {system}: {reason} ({', '.join(c.row.id for c in members)})")
    screen.print(table(SUMMARY_COLUMNS, [_summary_cells(name, found) for name, found in families]))
    typer.echo(NOTE)


def _cells(comparison: Comparison) -> list[str]:
    row, modelled, error = comparison.row, comparison.modelled, comparison.relative_error
    what = " ".join(part for part in (row.network, row.layer, row.metric) if part not in {"", "-"})
    mark = "" if row.confirmed else "~"
    return [row.id, row.system, what, f"{mark}{row.value:.5g} {row.unit}", f"{modelled:.5g} {row.unit}", _percent(error, sign="+")]


def _summary_cells(family: str, found: Agreement) -> list[str]:
    tau = "-" if found.kendall_tau is None else f"{found.kendall_tau:.3f}"
    errors = [_percent(found.mean_abs_error), _percent(found.worst)]
    return [family, str(found.rows), *errors, tau, str(found.expressed), str(found.skipped), found.worst_id or "-"]


def _percent(error: float | None, *, sign: str = "") -> str:
    return "-" if error is None else f"{100 * error:{sign}.1f} %"
