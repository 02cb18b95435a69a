"""Export and measure: a model folder's network in other formats, and in bytes and milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table


def export_model(folder: Path, *, format: str, out: Path | None, as_json: bool) -> None:
    """Export a network and print where it is and how far from the original."""
    from autocomp.exporting import described, export_folder

    found = export_folder(folder, format, out)
    if as_json:
        print_json(described(found))
        return
    typer.echo(f"File:       {found.path}, {found.bytes / 1e3:,.1f} kB")
    if found.integer_layers is not None and found.float_layers is not None:
        typer.echo(f"Layers:     {found.integer_layers} of {found.integer_layers + found.float_layers} on integers")
    typer.echo(f"Difference: {found.max_abs_difference:.3g} at most (allowed: {found.tolerance:.3g}) on {found.images} {found.inputs}")
    typer.echo(f"Agreement:  {100 * found.agreement:.1f} % of the images get the same class")


def measure_model(folder: Path, *, threads: Sequence[int], batch: int, as_json: bool) -> None:
    """Measure a network and print its figures beside its teacher's."""
    from autocomp.measure import measure_folder

    found = measure_folder(folder, threads=threads, batch=batch)
    if as_json:
        print_json(found)
        return
    sides = [name for name in ("network", "teacher", "ratio") if found[name]]
    columns = [_ratio_cells(found[name]) if name == "ratio" else _cells(found[name]) for name in sides]
    heads = ["parameters", "MACs", "ONNX file", "program file"]
    heads += [f"{engine}, {n} thread{'s' if n > 1 else ''}" for engine in ("ONNX Runtime", "torch") for n in found["threads"]]
    console().print(table(["", *sides], [list(row) for row in zip(heads, *columns, strict=True)]))
    if not found["teacher"]:
        typer.echo("The teacher is not shown: the model's record does not name a network of autocomp's.")


def _cells(side: Mapping[str, Any]) -> list[str]:
    sizes = [
        f"{side['parameters']:,}",
        f"{side['macs'] / 1e6:,.3f} M",
        *(f"{side['bytes'][kind] / 1e3:,.1f} kB" for kind in ("onnx", "pt2")),
    ]
    return sizes + [f"{row['median_ms']:.3f} ms, IQR {row['iqr_ms']:.3f}" for engine in ("onnxruntime", "torch") for row in side[engine]]


def _ratio_cells(ratio: Mapping[str, Any]) -> list[str]:
    sizes = [ratio["parameters"], ratio["macs"], ratio["bytes"]["onnx"], ratio["bytes"]["pt2"]]
    return [f"{value:.2f}" for value in (*sizes, *ratio["onnxruntime"], *ratio["torch"])]
