"""Trials as tables: the Parquet files of a run folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from autocomp.choice import CATEGORIES, DEFAULTS
from autocomp.files import new_file
from autocomp.space import Knob, SearchSpace
from autocomp.trial import Trial

METRICS = ("accuracy", "loss", "latency_s", "energy_j", "size_bytes", "macs", "params")
SPREAD = "accuracy_std"  # where the hardware disturbs the numbers: standard deviation of the accuracy from device to device
SOMETIMES = (SPREAD, "area_mm2")  # metrics that only some devices have


def trial_table(
    trials: Sequence[Trial], space: SearchSpace, on_front: Collection[int], extra: Mapping[int, Mapping[str, float]] | None = None
) -> pa.Table:
    """One row per trial, one ``choice/<layer>/<knob>`` column per decision of the space; what was not measured is null.

    A parameter of the device that is decided on has the column ``choice/hw/<parameter>``. The columns `SOMETIMES` are there where some
    trial has them.

    Args:
        trials: the rows (``n``).
        space: names the decisions.
        on_front: ids of the trials on the front.
        extra: more metrics of some trials, by id; each name becomes a column.
    """
    extra = extra or {}
    columns: dict[str, pa.Array] = {
        "trial_id": pa.array([t.id for t in trials], pa.int64()),
        "status": pa.array([str(t.status) for t in trials], pa.string()),
        "reason": pa.array([t.reason for t in trials], pa.string()),
        "fidelity": pa.array([float(t.fidelity) for t in trials], pa.float64()),
        "seed": pa.array([t.seed for t in trials], pa.int64()),
    }
    columns |= {m: pa.array([t.metrics.get(m) for t in trials], pa.float64()) for m in METRICS}
    for name in SOMETIMES:
        if any(name in t.metrics for t in trials):
            columns[name] = pa.array([t.metrics.get(name) for t in trials], pa.float64())
    columns["on_front"] = pa.array([t.id in on_front for t in trials], pa.bool_())
    columns["duration_s"] = pa.array([t.duration_s for t in trials], pa.float64())
    columns["image_passes"] = pa.array([t.image_passes for t in trials], pa.float64())
    for name in sorted({n for values in extra.values() for n in values}):
        columns[name] = pa.array([extra.get(t.id, {}).get(name) for t in trials], pa.float64())
    for knob in space.decisions:
        columns[f"choice/{knob.layer}/{knob.name}"] = pa.array([knob.value(t.configuration) for t in trials], _kind(knob))
    return pa.table(columns)


def _kind(knob: Knob) -> Any:
    if knob.name in CATEGORIES:
        return pa.string()
    if knob.is_of_device:
        return pa.array(knob.options).type
    return pa.float64() if isinstance(DEFAULTS[knob.name], float) else pa.int64()


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file in one step: whoever reads it sees the old one or the new one."""
    with new_file(path) as part:
        pq.write_table(table, part)
