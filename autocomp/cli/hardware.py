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
from autocomp.cli.networks import network_workload
from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table
from autocomp.errors import ConfigError
from hwmodels import CostReport, Workload, device_description, device_names, price

SHAPE = ("in_channels", "out_channels", "kernel_h", "kernel_w", "out_h", "out_w", "stride", "groups", "weight_bits", "activation_bits")
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


def score_model(
    name: str, model: str, *, bits: tuple[int | None, int | None], batch: int = 1, config_dir: Path | None = None, as_json: bool = False
) -> None:
    """Price a network and print it layer by layer.

    Args:
        name: of the hardware.
        model: of the network: a layer table, a network of autocomp, or the path of a ``.csv`` file.
        bits: of weights and of activations; None for those of the network.
        batch: images per pass; every figure is of one pass.
        config_dir: folder of the user's configuration files.
        as_json: JSON instead of a table.

    Raises:
        UnknownNameError: if there is no such hardware or network.
        ConfigError: if bits or batch are out of range.
        HardwareError: if the layer table breaks a rule or the hardware cannot run a layer.
    """
    hardware = build({"hw": ConfigTree(config_dir).hardware(name)}, "hw")
    workload = network_workload(model, bits=bits, batch=batch)
    report = price(hardware, workload)
    score = {"hw": hardware.name, "model": model, "batch": batch, **_common_widths(workload), **_totals(workload, report)}
    layers = _layers(workload, report)
    if as_json:
        print_json({**score, "layers": layers})
    else:
        _print_score(score, layers)


def _common_widths(workload: Workload) -> dict[str, int | None]:
    """Bits of weights and activations; None where layers differ."""
    found = {key: set(getattr(workload, key).ravel().tolist()) for key in ("weight_bits", "activation_bits")}
    return {key: widths.pop() if len(widths) == 1 else None for key, widths in found.items()}


def _totals(workload: Workload, report: CostReport) -> dict[str, Any]:
    return {
        "latency_s": float(report.total_latency_s),
        "energy_j": float(report.total_energy_j),
        "energy_parts_j": {part: float(joules.sum()) for part, joules in report.energy_parts_j.items()},
        "macs": int(workload.macs.sum()),
        "dram_bytes": float(report.dram_bytes.sum()),
        "uncertainty": dict(report.uncertainty),
        "feasible": bool(report.feasible),
        "reasons": list(report.reasons()),
    }


def _print_score(score: Mapping[str, Any], layers: list[dict[str, Any]]) -> None:
    weights, activations = (f"{score[key] or 'mixed'}-bit" for key in ("weight_bits", "activation_bits"))
    images = "" if score["batch"] == 1 else f", {score['batch']} images"
    caption = f"{score['model']} on {score['hw']}, {weights} weights, {activations} activations{images}"
    console().print(table(COLUMNS, [_cells(row) for row in layers], caption=caption, text_columns=2))
    typer.echo(f"Total: {show('latency_s', score['latency_s'])}, {show('energy_j', score['energy_j'])}, {score['macs']:,} MACs")
    parts = (
        f"{part} {show('energy_j', joules)} ({joules / (score['energy_j'] or 1):.0%})" for part, joules in score["energy_parts_j"].items()
    )
    typer.echo(f"Energy: {', '.join(parts)}")
    if score["uncertainty"]:
        factors = ", ".join(f"{factor:.3g} ({what})" for what, factor in score["uncertainty"].items())
        typer.echo(f"Trust: nine of ten published figures of this family lie within a factor {factors}")
    for reason in score["reasons"]:
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
            "energy_parts_j": {part: float(joules[i]) for part, joules in report.energy_parts_j.items()},
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
