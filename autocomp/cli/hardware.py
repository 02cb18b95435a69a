"""Looking at hardware models: which there are, what they rest on, what they charge for a reference network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import typer
from omegaconf import OmegaConf

from autocomp.card import show
from autocomp.cli.building import build
from autocomp.cli.composing import ANY_DEVICE, ConfigTree, warn
from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table
from autocomp.errors import ConfigError
from hwmodels import CostReport, Workload, device_description, device_names

USUAL_INPUTS = {"digits_resnet": (1, 8, 8), "lenet5": (1, 28, 28)}  # channels, height, width; CIFAR's for every other network
CIFAR_INPUT = (3, 32, 32)
CLASSES = 10
SHAPE = ("in_channels", "out_channels", "kernel_h", "kernel_w", "out_h", "out_w", "stride", "groups")
COLUMNS = ("layer", "shape", "macs", "cycles", "latency", "energy", "utilization", "dram bytes")


def list_hardware(config_dir: Path | None, *, as_json: bool) -> None:
    """Print every name that ``--hw`` takes."""
    rows = list(_rows(ConfigTree(config_dir)))
    if as_json:
        print_json(rows)
    else:
        console().print(table(("name", "family", "description"), [list(row.values()) for row in rows], text_columns=3))


def _rows(tree: ConfigTree) -> Iterator[dict[str, str]]:
    """Configuration files first, then devices; a file that cannot be read is named and left out."""
    families = device_names()
    for name in tree.names("hw"):
        if name == ANY_DEVICE:
            continue
        try:
            hardware = tree.hardware(name)
        except ConfigError as error:
            warn(f"hardware '{name}' is left out: {error}")
            continue
        device = hardware.get("device", "")
        yield {"name": name, "family": families.get(device, ""), "description": f"stands for {device or hardware['_target_']}"}
    for name, family in families.items():
        yield {"name": name, "family": family, "description": device_description(name)}


def show_hardware(name: str, config_dir: Path | None) -> None:
    """Print the configuration behind a name and the device file that it leads to, sources included.

    Raises:
        UnknownNameError: if there is no such hardware.
    """
    hardware = ConfigTree(config_dir).hardware(name)
    device = hardware.get("device", "")
    if device != name:
        typer.echo(OmegaConf.to_yaml(hardware))
    if device in device_names():
        typer.echo(resources.files("hwmodels").joinpath("devices", f"{device}.yaml").read_text(encoding="utf-8"), nl=False)


def score_model(name: str, model: str, *, bits: tuple[int, int], config_dir: Path | None, as_json: bool) -> None:
    """Price a reference network and print it layer by layer.

    Args:
        name: of the hardware.
        model: of the network.
        bits: of weights and of activations.
        config_dir: folder of the user's configuration files.
        as_json: JSON instead of a table.

    Raises:
        UnknownNameError: if there is no such hardware or network.
    """
    hardware = build({"hw": ConfigTree(config_dir).hardware(name)}, "hw")
    from autocomp import models
    from autocomp.tracing import trace

    shape = USUAL_INPUTS.get(model, CIFAR_INPUT)
    workload = trace(models.build(model, classes=CLASSES, input_shape=shape), shape)
    workload = workload.replace(weight_bits=bits[0], activation_bits=bits[1])
    report = hardware.estimate(workload)
    totals: dict[str, Any] = {
        "latency_s": float(report.total_latency_s),
        "energy_j": float(report.total_energy_j),
        "macs": int(workload.macs.sum()),
        "dram_bytes": float(report.dram_bytes.sum()),
        "feasible": bool(report.feasible),
        "reasons": list(report.reasons()),
    }
    layers = _layers(workload, report)
    if as_json:
        print_json({"hw": hardware.name, "model": model, "weight_bits": bits[0], "activation_bits": bits[1], **totals, "layers": layers})
        return
    caption = f"{model} on {hardware.name}, {bits[0]}-bit weights, {bits[1]}-bit activations"
    console().print(table(COLUMNS, [_cells(row) for row in layers], caption=caption, text_columns=2))
    total = ", ".join((show("latency_s", totals["latency_s"]), show("energy_j", totals["energy_j"]), f"{totals['macs']:,} MACs"))
    typer.echo(f"Total: {total}")
    for reason in totals["reasons"]:
        typer.echo(f"Does not fit: {reason}")


def _layers(workload: Workload, report: CostReport) -> list[dict[str, Any]]:
    """One row per layer: plain JSON data."""
    return [
        {
            "name": row["name"],
            **{key: row[key] for key in SHAPE},
            "macs": int(workload.macs[i]),
            "cycles": float(report.cycles[i]),
            "latency_s": float(report.latency_s[i]),
            "energy_j": float(report.energy_j[i]),
            "utilization": float(report.utilization[i]),
            "dram_bytes": float(report.dram_bytes[i]),
        }
        for i, row in enumerate(workload.rows())
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["name"],
        "{in_channels}→{out_channels} {kernel_h}x{kernel_w} @{out_h}x{out_w}".format(**row),
        f"{row['macs']:,}",
        f"{row['cycles']:,.0f}",
        show("latency_s", row["latency_s"]),
        show("energy_j", row["energy_j"]),
        f"{100 * row['utilization']:.1f} %",
        f"{row['dram_bytes']:,.0f}",
    ]
