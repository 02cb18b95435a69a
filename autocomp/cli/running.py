"""Running a search: a folder, the parts that the configuration names, and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from autocomp.cli.building import build, build_searcher
from autocomp.cli.composing import ConfigTree, read
from autocomp.cli.overrides import setting
from autocomp.cli.results import show_result
from autocomp.cli.tables import console
from autocomp.errors import UsageError
from autocomp.results import CONFIG, SUMMARY

RUNS = Path("runs")
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def start(options: Mapping[str, object], settings: Sequence[str], *, config_dir: Path | None, quiet: bool) -> None:
    """Compose a configuration, build what it names and search; nothing is written before all of that has worked.

    Raises:
        AutocompError: if the request cannot be carried out, or the run fails.
    """
    named = [setting(key, value) for key, value in options.items()]
    config = ConfigTree(config_dir).compose([*settings, *named])
    out = run_folder(config)
    config["out"] = str(out)
    run(config, out, quiet=quiet, resume=False)


def go_on(folder: Path, *, quiet: bool) -> None:
    """Continue the run in a folder; of a finished one only print the result.

    Raises:
        UsageError: if the folder holds no run.
        AutocompError: if the run fails.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(f"A run can be continued from its folder, which has a {CONFIG}, but '{folder}' has none.")
    if (folder / SUMMARY).is_file():
        typer.echo("This run is finished.", err=True)
        show_result(folder, console())
        return
    run(read(folder / CONFIG), folder, quiet=quiet, resume=True)


def run_folder(config: Mapping[str, Any]) -> Path:
    """The folder that the configuration names, or a new name; it is not made yet.

    Raises:
        UsageError: if the folder holds a run already, or is a file.
    """
    if config["out"] is None:
        first = RUNS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{config['name']}"
        names = [first, *(first.with_name(f"{first.name}-{i}") for i in range(2, 100))]
        return next(name for name in names if not name.exists())
    out = Path(config["out"])
    if (out / CONFIG).exists():
        raise UsageError(f"'{out}' holds a run already; continue it with `autocomp resume {out}`, or name another --out.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out must be a folder, but '{out}' is a file.")
    return out


def run(config: Mapping[str, Any], out: Path, *, quiet: bool, resume: bool) -> None:
    """Build the parts, search, print the result; an interrupt ends with the command that goes on."""
    from autocomp.cli.progress import watching
    from autocomp.search import search

    parts = {"task": build(config, "task"), "hardware": build(config, "hw"), "searcher": build_searcher(config)}
    screen = console()
    try:
        with watching(screen, quiet=quiet) as progress:
            search(config, out=out, progress=progress, resume=resume, **parts)
    except KeyboardInterrupt:
        hint = f"; continue with: autocomp resume {out}" if (out / CONFIG).is_file() else ""
        typer.echo(f"interrupted{hint}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    show_result(out, screen)
