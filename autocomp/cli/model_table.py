"""Sizes of well-known networks as a survey prints them, and as they are counted here."""

from __future__ import annotations

import dataclasses

import torch
import typer
from torch import nn

from autocomp import models
from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table
from autocomp.models.published import SOURCE, Published, Size, published
from autocomp.tracing import trace
from hwmodels import Op

HEADS = ("network", "model", "parameters / M", "conv / %", "fc / %", "MACs / G", "conv / %", "fc / %")


def show_model_table(*, as_json: bool) -> None:
    """Print the survey's table, each figure with what is counted on the network of that name."""
    rows = [(row, counted(row.model)) for row in published()]
    if as_json:
        print_json({"source": SOURCE, "rows": [{**dataclasses.asdict(row), "counted": dataclasses.asdict(size)} for row, size in rows]})
        return
    typer.echo("Each figure as printed -> as counted here.")
    console().print(table(HEADS, [_cells(row, size) for row, size in rows], text_columns=2))
    for row, _ in rows:
        if row.note:
            typer.echo(f"{row.network}: {row.note}.")
    typer.echo(f"Printed: {SOURCE}.")


def counted(model: str) -> Size:
    """How large a network for the images that it is known for is; nothing is computed with numbers.

    Raises:
        UnknownNameError: if there is no such network.
    """
    shape, classes = models.usual_images(model)
    with torch.device("meta"):
        network = models.build(model, classes=classes, input_shape=shape)
        workload = trace(network, shape)
    parameters = sum(p.numel() for p in network.parameters())
    conv, fc = (_parameters_of(network, kind) for kind in (nn.Conv2d, nn.Linear))
    macs, is_fc = workload.macs, workload.op == Op.LINEAR
    flops_fc = float(macs[is_fc].sum() / macs.sum())
    return Size(
        parameters=parameters / 1e6,
        parameters_conv=100 * conv / parameters,
        parameters_fc=100 * fc / parameters,
        flops=float(macs.sum() / 1e9),
        flops_conv=100 * (1 - flops_fc),
        flops_fc=100 * flops_fc,
    )


def _parameters_of(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(p.numel() for layer in network.modules() if isinstance(layer, kind) for p in layer.parameters())


def _cells(row: Published, size: Size) -> list[str]:
    pairs = zip(dataclasses.astuple(row.printed), dataclasses.astuple(size), HEADS[2:], strict=True)
    return [row.network, row.model, *(f"{printed:g} -> {found:.{1 if '%' in head else 2}f}" for printed, found, head in pairs)]
