"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autocomp.card import show
from autocomp.choice import is_of_device

HEADS = {
    "accuracy": "accuracy",
    "test_accuracy": "test",
    "latency_s": "latency",
    "energy_j": "energy",
    "size_bytes": "weights",
    "area_mm2": "area",
}
SHOWN = ("accuracy", "latency_s", "energy_j", "size_bytes")  # of a trial, where there is one line for it
PLAIN_WIDTH = 140  # columns where there is no terminal that has a width


def console() -> Console:
    """Where results go; wide enough for every table where it is no terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=PLAIN_WIDTH)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", text_columns: int = 1) -> Table:
    """A table; all columns but the first few are numbers and stand right."""
    drawn = Table(box=box.SIMPLE_HEAD, title=caption or None, title_justify="left", title_style="")
    for i, head in enumerate(heads):
        drawn.add_column(head, justify="left" if i < text_columns else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))  # as it is, without markup
    return drawn


def front_table(
    members: Sequence[Mapping[str, Any]], teacher: Mapping[str, float] | None = None, *, best: int | None = None, caption: str = ""
) -> Table:
    """Members of a front, each with ``trial_id``, its metrics, and its device where that was decided on; the best is starred.

    Where the teacher's metrics are given, accuracy comes with the points that were lost, and costs in per cent of the teacher's.
    """
    shown = {name: head for name, head in HEADS.items() if all(name in member for member in members)}
    designs = {column: column.rpartition("/")[2] for column in (members[0] if members else ()) if _is_design(column)}
    rows = [
        [
            f"{member['trial_id']}{' *' if member['trial_id'] == best else ''}",
            *(_cell(name, member[name], teacher) for name in shown),
            *(str(member[column]) for column in designs),
        ]
        for member in members
    ]
    return table(["trial", *shown.values(), *designs.values()], rows, caption=caption)


def _is_design(column: str) -> bool:
    """Whether a column of a run's table is a parameter of the device that was decided on."""
    layer, _, knob = column.removeprefix("choice/").rpartition("/")
    return column.startswith("choice/") and is_of_device(layer, knob)


def _cell(name: str, value: float, teacher: Mapping[str, float] | None) -> str:
    if not teacher or name == "test_accuracy":
        return show(name, value)
    beside = f"{100 * (value - teacher[name]):+.2f}" if name == "accuracy" else f"{100 * value / teacher[name]:3.0f}%"
    return f"{show(name, value)} {beside}"
