"""Exploring devices: the designs that suit a network best, under the limits of the chip."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import typer

from autocomp.card import show, title
from autocomp.cli.building import build
from autocomp.cli.composing import ConfigTree
from autocomp.cli.networks import network_workload
from autocomp.cli.results import print_json
from autocomp.cli.tables import console, table
from autocomp.errors import ConfigError, UsageError
from autocomp.exploration import PRICES, Exploration, explore
from autocomp.files import new_file
from hwmodels import Workload
from hwmodels.axes import default_axes, no_worse
from hwmodels.design import Adjustable

TABLE, FRONT, PLOT = "designs.parquet", "front.json", "designs.html"
SHOWN: Final = 40  # designs on the terminal


@dataclass(frozen=True)
class Question:
    """What is asked about a device, as it was written on the command line.

    Attributes:
        axes: ``KEY=V1,V2,...`` each; none for those of the hardware's file, or of its family.
        limits: ``NAME=VALUE`` each.
        objectives: names between commas; None for latency, energy and area.
        bits: of weights and of activations; None for those of the network.
        batch: images per pass.
    """

    axes: Sequence[str]
    limits: Sequence[str]
    objectives: str | None
    bits: tuple[int | None, int | None]
    batch: int


def explore_designs(name: str, model: str, question: Question, *, out: Path | None, config_dir: Path | None, as_json: bool) -> None:
    """Price every combination of the axes and print those that no other one beats.

    Args:
        name: of the hardware.
        model: of the network, see `network_workload`.
        question: what is varied and what is wanted.
        out: folder for the plot and the tables; None for none.
        config_dir: folder of the user's configuration files.
        as_json: JSON instead of a table.

    Raises:
        UnknownNameError: if there is no such hardware, network, price or resource.
        ConfigError: if an axis or a limit is malformed, or the hardware has no axes.
        HardwareError: if a key or value of the device is wrong, or it cannot run a layer.
        UnreachableLimitError: if no design keeps the limits.
        UsageError: if the folder is a file.
    """
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, but '{out}' is a file.")
    device = adjustable(ConfigTree(config_dir).hardware(name), question.axes)
    workload = network_workload(model, bits=question.bits, batch=question.batch)
    goals = [goal.strip() for goal in (question.objectives or "").split(",") if goal.strip()]
    limits = dict(map(parsed_limit, question.limits))
    kept = [name for name in no_worse(device) if name not in limits]
    found = explore(device, workload, limits=limits, no_worse=kept, objectives=goals)
    summary = {"hw": device.name, "model": model, "batch": question.batch, **_summary(device, workload, found)}
    if out is not None:
        _write(found, summary, out)
    if as_json:
        print_json(summary)
    else:
        _print(found, summary, out)


def adjustable(hardware: Mapping[str, Any], axes: Sequence[str]) -> Adjustable:
    """The hardware that a configuration names, with open parameters: those given, those of the configuration, or the usual ones.

    Raises:
        ConfigError: if an axis is malformed, or the hardware has no axes.
        HardwareError: if a key or value of the device is wrong.
    """
    chosen = dict(map(parsed_axis, axes)) or hardware.get("axes")
    if not chosen:
        chosen = default_axes(build({"hw": hardware}, "hw"), list(hardware.get("parameters") or ()))
    device = build({"hw": {**hardware, "axes": chosen}}, "hw")
    if not isinstance(device, Adjustable):
        raise ConfigError(f"Hardware must be a `hwmodels.design.Adjustable` to be explored, but '{device.name}' has no axes.")
    return device


def parsed_axis(text: str) -> tuple[str, list[Any]]:
    """``KEY=V1,V2,...`` as a key with its values; numbers and true or false are what they look like, everything else is a word.

    Raises:
        ConfigError: if it is written otherwise.
    """
    key, _, values = text.partition("=")
    words = [word.strip() for word in values.split(",")]
    if not key.strip() or not all(words):
        raise ConfigError(f"An axis is written KEY=V1,V2,..., but is '{text}'.")
    return key.strip(), [_value(word) for word in words]


def _value(word: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(word)
    return {"true": True, "false": False}.get(word, word)


def parsed_limit(text: str) -> tuple[str, float]:
    """``NAME=VALUE`` as a name with a positive number.

    Raises:
        ConfigError: if it is written otherwise.
    """
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not name.strip() or not 0 < value < float("inf"):
        raise ConfigError(f"A limit is written NAME=VALUE with a positive number, but is '{text}'.")
    return name.strip(), value


def _summary(device: Adjustable, workload: Workload, found: Exploration) -> dict[str, Any]:
    """What was found, as JSON data."""
    widths = {key: sorted(set(getattr(workload, key).ravel().tolist())) for key in ("weight_bits", "activation_bits")}
    return {
        **widths,
        "axes": {key: list(values) for key, values in device.axes.items()},
        "objectives": list(found.objectives),
        "designs": len(found.excess),
        "feasible": int(found.feasible.sum()),
        "as_it_is": dict(found.own),
        "front": [found.design(place) for place in found.front],
    }


def _write(found: Exploration, summary: Mapping[str, Any], out: Path) -> None:
    from autocomp.figures import designs_figure
    from autocomp.tables import write_table

    write_table(found.table(), out / TABLE)
    with new_file(out / FRONT) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    with new_file(out / PLOT) as part:  # with plotly inside, so that it opens offline
        designs_figure(found, f"{summary['model']} on {summary['hw']}").write_html(part, include_plotlyjs=True)


def _print(found: Exploration, summary: Mapping[str, Any], out: Path | None) -> None:
    front = summary["front"]
    shown = [front[i * (len(front) - 1) // max(SHOWN - 1, 1)] for i in range(SHOWN)] if len(front) > SHOWN else front
    parameters, prices = list(summary["axes"]), [name for name in PRICES if found.figures[name].any()]
    resources = list(dict.fromkeys(name for design in front for name, need in design["resources"].items() if need["used"]))
    caption = f"Designs of {summary['hw']} for {summary['model']} that no other one beats in {', '.join(map(_lower, found.objectives))}"
    console().print(table([*parameters, *map(_lower, prices), *resources], [_cells(d, prices, resources) for d in shown], caption=caption))
    more = "" if len(shown) == len(front) else f", {len(shown)} of them shown"
    typer.echo(f"{summary['designs']:,} designs, {summary['feasible']:,} within the limits, {len(front):,} on the front{more}")
    typer.echo(f"As it is: {', '.join(show(name, found.own[name]) for name in prices)}")
    for name in found.disturbances:
        if name in found.bounds:
            typer.echo(f"Kept:     {name} at most {found.bounds[name].max():g}; --limit {name}=VALUE for another limit")
    if out is not None:
        typer.echo(f"Files:    {out}")


def _lower(name: str) -> str:
    return title(name).lower() if name in PRICES else name


def _cells(design: Mapping[str, Any], prices: Sequence[str], resources: Sequence[str]) -> list[str]:
    cells = [f"{value:g}" if isinstance(value, float) else str(value) for value in design["parameters"].values()]
    cells += [show(name, design[name]) for name in prices]
    needs = [design["resources"].get(name) for name in resources]
    return cells + [f"{need['used']:,.0f} ({need['used'] / need['limit']:.0%})" if need else "" for need in needs]
