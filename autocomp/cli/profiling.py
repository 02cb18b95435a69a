"""Profiling: what each single choice costs, as a table, as JSON and as pictures, without a search."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from autocomp.cli.building import build
from autocomp.cli.composing import ConfigTree
from autocomp.cli.overrides import setting
from autocomp.cli.results import print_json
from autocomp.cli.running import INTERRUPTED, run_folder
from autocomp.cli.tables import console, table
from autocomp.errors import AutocompError
from autocomp.files import new_file

if TYPE_CHECKING:
    from autocomp.profile import Profile
    from autocomp.sensitivity import Sensitivity

PAGE, PICTURE = "profile.html", "profile.png"
LEAST = 1e-6  # nats; a mean of logarithms takes what is below for this much


def profile_network(options: Mapping[str, object], settings: Sequence[str], *, config_dir: Path | None, quiet: bool, as_json: bool) -> None:
    """Measure the sensitivity of a task's teacher over all workers, print it and write it to a folder.

    Raises:
        AutocompError: if the request cannot be carried out, or nothing could be measured.
    """
    named = [setting(key, value) for key, value in options.items()]
    config = ConfigTree(config_dir).compose([*settings, *named])
    out = run_folder({**config, "name": f"{config['name']}-profile"})
    start = time.perf_counter()
    try:
        profile = _measured(config, quiet=quiet or as_json)
    except KeyboardInterrupt:
        typer.echo("interrupted; what was measured is kept, and the same command goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from None
    record = {"name": config["name"], "wall_s": time.perf_counter() - start, "layers": list(_rows(profile.sensitivity))}
    record |= {"extremes": _extremes(profile.sensitivity), **profile.to_record(), "out": str(out)}
    _write(profile, record, out)
    if as_json:
        print_json(record)
    else:
        _print(record, quiet=quiet)


def _measured(config: Mapping[str, Any], *, quiet: bool) -> Profile:
    from autocomp.cli.progress import watching
    from autocomp.cluster import Cluster
    from autocomp.pose import pose
    from autocomp.profile import measure_profile
    from autocomp.profile_plan import ProfilePlan

    task, hardware = build(config, "task"), build(config, "hw")
    cluster = Cluster(**config["cluster"], workers=config["workers"])
    with watching(console(), quiet=quiet) as progress, cluster.connecting() as connected:
        evaluator = pose(config, task=task, hardware=hardware, progress=progress)
        progress.stage("starting the workers")
        plan = ProfilePlan(**config["profile"])
        profile = measure_profile(evaluator, plan, cluster=cluster, workers=connected(), progress=progress)
    if profile is None:
        raise AutocompError("A profile needs a choice that changes the network and can be measured, but there is none; see the space.")
    return profile


def _rows(sensitivity: Sensitivity) -> Iterator[dict[str, Any]]:
    """The losses of each layer, a row for each way to compress it, from mild to strong."""
    from autocomp.heatmap import Grid

    grid = Grid.of(sensitivity)
    for layer, losses in zip(grid.layers, grid.losses.tolist(), strict=True):
        cells = [(column, loss) for column, loss in zip(grid.columns, losses, strict=True) if not np.isnan(loss)]
        for (switch, how), group in groupby(cells, key=lambda cell: cell[0][:2]):
            values, found = zip(*((column[2], loss) for column, loss in group), strict=True)
            yield {"layer": layer, "knob": switch, "how": how, "values": list(values), "losses": list(found)}


def _extremes(sensitivity: Sensitivity) -> list[dict[str, Any]]:
    """Which layer suffers most and which least from each way to compress several, by the mean logarithm of losses that all have."""
    from autocomp.heatmap import Grid

    grid = Grid.of(sensitivity)
    logs = np.log(np.maximum(grid.losses, LEAST))
    found = []
    for (switch, how), group in groupby(range(len(grid.columns)), key=lambda i: grid.columns[i][:2]):
        some = logs[:, list(group)]
        able = np.flatnonzero(~np.isnan(some).all(1))
        if len(able) < 2:
            continue
        shared = ~np.isnan(some[able]).any(0)
        means = np.nanmean(some[able][:, shared] if shared.any() else some[able], axis=1)
        most, least = (grid.layers[able[i]] for i in (means.argmax(), means.argmin()))
        found.append({"knob": switch, "how": how, "most_sensitive": most, "least_sensitive": least})
    return found


def _write(profile: Profile, record: Mapping[str, Any], out: Path) -> None:
    from autocomp.heatmap import write_page, write_picture
    from autocomp.profile import FILE

    with new_file(out / FILE) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    title = f"Sensitivity of {record['name']}"
    write_page(out / PAGE, profile.sensitivity, title=title)
    write_picture(out / PICTURE, profile.sensitivity, title=title)


def _print(record: Mapping[str, Any], *, quiet: bool) -> None:
    rows, correlation = record["layers"], record["rank_correlation"]
    if not quiet:
        most = max(len(row["values"]) for row in rows)
        cells = [[row["layer"], _kind(row), *map(_cell, row["values"], row["losses"])] for row in rows]
        caption = f"Loss of each choice alone in {record['name']}, from mild to strong, in nats per image"
        padded = [[*row, *[""] * (most + 2 - len(row))] for row in cells]
        console().print(table(["layer", "what", *[""] * most], padded, caption=caption, text_columns=2))
    for row in record["extremes"]:
        typer.echo(f"{_kind(row).capitalize()}: most sensitive {row['most_sensitive']}, least {row['least_sensitive']}")
    if correlation is not None:
        typer.echo(f"Together: sums of single losses rank mixtures with a Spearman correlation of {correlation:.3f}")
    from_cache = "" if record["spent_passes"] else ", all from the cache"
    cost = f"{record['image_passes']:,.0f} image passes for {len(record['probes'])} probes{from_cache}"
    typer.echo(f"Cost:     {cost}; {record['wall_s']:.1f} s in all")
    typer.echo(f"Files:    {record['out']}")


def _kind(row: Mapping[str, Any]) -> str:
    from autocomp.heatmap import way

    return f"{row['knob'].replace('_', ' ')}{way(row['knob'], row['how'])}"


def _cell(value: float, loss: float) -> str:
    return f"{value:g}: {loss:.2g}"
