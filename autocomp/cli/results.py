"""What a run left behind: its front, its registered models, and whether a pulled model is as good as reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import typer
import yaml
from rich.console import Console

from autocomp.best import BestRule
from autocomp.card import show
from autocomp.cli.composing import read, with_settings
from autocomp.cli.tables import SHOWN, console, front_table, table
from autocomp.errors import UsageError
from autocomp.objective import Objective
from autocomp.results import CONFIG, FRONT, SUMMARY
from autocomp.tracking import Tracking, is_registered


def show_run(folder: Path, settings: Sequence[str] = (), *, as_json: bool) -> None:
    """Print the result of a finished run.

    Args:
        folder: of the run.
        settings: ``best.KEY=VALUE``; the best is chosen anew by the rule of the run with these changes.
        as_json: JSON instead of a table.

    Raises:
        UsageError: if the folder holds no finished run.
        ConfigError: if a setting is not about the best, or is out of range.
    """
    if not (folder / SUMMARY).is_file():
        hint = f"continue it with `autocomp resume {folder}`" if (folder / CONFIG).is_file() else "it is no run folder"
        raise UsageError(f"A finished run has a {SUMMARY}, but '{folder}' has none; {hint}.")
    if as_json:
        print_json(_read(folder, settings)[0])
    else:
        show_result(folder, console(), settings)


def _read(folder: Path, settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Summary and configuration of a finished run; with settings, with the best that they would have made."""
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    if not settings:
        return summary, yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    config = with_settings(read(folder / CONFIG), settings, "best")
    goals = [Objective.stated(metric, **told) for metric, told in config["objectives"].items() if told["optimised"]]
    choice = BestRule(**config["best"]).choose(summary["front"], summary["teacher"], goals)
    return {**summary, "best": summary["front"][choice]}, config


def show_result(folder: Path, screen: Console, settings: Sequence[str] = ()) -> None:
    """Print a finished run's front, its best member, and where everything is."""
    summary, config = _read(folder, settings)
    members = pq.read_table(folder / FRONT).to_pylist()
    teacher, best = summary["teacher"], summary["best"]
    screen.print(front_table(members, teacher, best=best and best["trial_id"], caption=f"Front of {summary['name']}"))
    figures = ", ".join(f"{m.split('_')[0]} {show(m, teacher[m])}" for m in SHOWN)
    trials = ", ".join(f"{count} {status.lower()}" for status, count in summary["trials"].items())
    typer.echo(f"Teacher: {figures}")
    typer.echo(f"Trials:  {trials}; {len(members)} on the front")
    if any(member.get("accuracy_std") is not None for member in members):
        typer.echo("Noise:   accuracy is the mean over disturbed devices, the teacher's and test accuracy are those of exact arithmetic")
    if best:
        typer.echo(f"Best *:  trial {best['trial_id']}, {BestRule(**config['best']).reason(best, teacher)}")
    typer.echo(f"Files:   {folder}")
    if best and is_registered(folder) and not settings:  # what is registered as the best may be another than one chosen anew
        uri = config["tracking"]["uri"]
        typer.echo(f"Pull:    autocomp pull {summary['name']} --out DIR{'' if uri == Tracking().uri else f' --uri {uri}'}")
    elif best:
        from autocomp.exporting import member_folder

        typer.echo(f"Model:   {member_folder(folder, best['trial_id'])}")


def list_registered(uri: str, *, as_json: bool) -> None:
    """Print every registered version, newest first."""
    from autocomp.registry import list_models

    rows = list_models(uri)
    if as_json:
        print_json(rows)
        return
    heads = ("name", "version", "aliases", "trial", "accuracy", "test", "latency", "energy", "weights", "created")
    metrics = ("accuracy", "test_accuracy", "latency_s", "energy_j", "size_bytes")
    cells = [
        [row["name"], str(row["version"]), ", ".join(row["aliases"]), str(row["trial"])]
        + [show(m, row["metrics"][m]) if m in row["metrics"] else "" for m in metrics]
        + [row["created"]]
        for row in rows
    ]
    console().print(table(heads, cells))


def pull_model(reference: str, *, uri: str, out: Path) -> None:
    """Fetch a registered model and print which files came."""
    from autocomp.registry import pull

    for path in sorted(pull(reference, uri=uri, out=out).iterdir()):
        typer.echo(path)


def evaluate_model(folder: Path, *, as_json: bool) -> None:
    """Measure a pulled model on test data and print it beside what was reported; another figure ends with exit code 1."""
    from autocomp.reproduce import evaluate_folder

    found = evaluate_folder(folder)
    if as_json:
        print_json(found)
    else:
        typer.echo(f"Test accuracy: {show('test_accuracy', found['test_accuracy'])} on {found['images']} images")
        same = "the same" if found["reproduced"] else "not the same"
        typer.echo(f"Reported:      {show('test_accuracy', found['reported_test_accuracy'])}, {same}")
    if not found["reproduced"]:
        raise typer.Exit(1)


def print_json(value: object) -> None:
    """Print JSON for other programs."""
    typer.echo(json.dumps(value, indent=2))
