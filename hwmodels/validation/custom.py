"""Rows of a user's own hardware: ``other_params`` names the device and the network, so that no Python is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwmodels.devices import load_device
from hwmodels.networks import load_network, read_table, select
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow
from hwmodels.workload import Op, Workload

_WHOLE: Final = ("", "-", "whole", "all")
_OPS: Final = {"all conv": Op.CONV, "all fc": Op.LINEAR}
_FACTS: Final = ("weight_bits", "activation_bits", "weight_density", "activation_density")
# 8, fp32, int8; 8/8, w4a8, a8w4: weights first where no letter says otherwise.
_PRECISIONS: Final = (
    re.compile(r"(?:fp|int)?(?P<w>\d+)"),
    re.compile(r"(?P<w>\d+)/(?P<a>\d+)"),
    re.compile(r"w(?P<w>\d+)[/_ ]?a(?P<a>\d+)"),
    re.compile(r"a(?P<a>\d+)[/_ ]?w(?P<w>\d+)"),
)


def is_custom(row: PublishedRow) -> bool:
    """Whether a row says by itself how it is recomputed."""
    return "device" in row.other


def recompute(row: PublishedRow) -> float:
    """Price the row's network on the row's device and read the metric off the report.

    ``other`` holds ``device`` (a shipped device or a YAML file), ``model`` (a shipped network or a CSV layer table), and, where wanted,
    ``parameters`` (keys of the device file with other values) and bits and densities of every layer.

    Raises:
        CannotExpress: if the row leaves something open or names a metric that no report has.
        HardwareError: if device, network or a value cannot be used.
    """
    if "model" not in row.other:
        raise CannotExpress("other_params names a `device` but no `model`, a network or a CSV layer table")
    parameters: dict[str, Any] = dict(row.other.get("parameters", {}))
    if row.clock_mhz is not None:
        parameters.setdefault("clock_mhz", row.clock_mhz)
    device = load_device(str(row.other["device"]), parameters)
    workload = _workload(row)
    return figure(device.estimate(workload), workload, row.metric, row.unit)


def _workload(row: PublishedRow) -> Workload:
    model = str(row.other["model"])
    network = read_table(Path(model)) if model.endswith(".csv") else load_network(model)
    changes = {"batch": row.batch or 1, **_widths(row.precision_bits)} | {key: row.other[key] for key in _FACTS if key in row.other}
    return _layers(network, row.layer).replace(**changes)


def _layers(network: Workload, layer: str) -> Workload:
    wanted = layer.lower()
    if wanted in _WHOLE:
        return network
    if wanted in _OPS:
        ops = np.broadcast_to(network.op, network.shape)
        return select(network, [name for name, op in zip(network.names, ops, strict=True) if op == _OPS[wanted]])
    return select(network, [name.strip() for name in layer.split(",")])


def _widths(precision: str) -> dict[str, int]:
    """Bits of weights and activations; none where the row says none, so that those of the layer table hold."""
    if not precision:
        return {}
    for pattern in _PRECISIONS:
        found = pattern.fullmatch(precision.lower())
        if found:
            bits = found.groupdict()
            return {"weight_bits": int(bits["w"]), "activation_bits": int(bits.get("a") or bits["w"])}
    raise CannotExpress(f"precision '{precision}' is none of 8, fp32, 8/8, w4a8")
