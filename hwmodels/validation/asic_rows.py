"""What the recipes of ASICs share: devices, layers and units by the names in a row."""

from __future__ import annotations

import numpy as np

from hwmodels.cost import CostReport
from hwmodels.devices import load_device
from hwmodels.networks import load_network, select
from hwmodels.sparse import SparseAccelerator
from hwmodels.validation.rows import CannotExpress, PublishedRow
from hwmodels.workload import Op, Workload


def sparse_device(name: str, **parameters: object) -> SparseAccelerator:
    """A shipped device, some keys replaced."""
    device = load_device(name, parameters)
    assert isinstance(device, SparseAccelerator)
    return device


def clocked(name: str, row: PublishedRow) -> SparseAccelerator:
    """A device at the row's clock."""
    return sparse_device(name, **({"clock_mhz": row.clock_mhz} if row.clock_mhz else {}))


def convolutions(network: str, bits: int = 16) -> Workload:
    """The convolutions of a network, without its fully connected layers."""
    table = load_network(network)
    names = [name for name, op in zip(table.names, np.broadcast_to(table.op, table.shape), strict=True) if op == Op.CONV]
    return select(table, names).replace(weight_bits=bits, activation_bits=bits)


def layers_of(workload: Workload, layer: str) -> Workload:
    """One layer, or all of them, by the name in the row."""
    name = layer.strip().lower().replace("-", "_")
    return workload if name in {"all conv", "whole", "all", "_"} else one_layer(workload, name)


def one_layer(workload: Workload, name: str) -> Workload:
    """One layer by its name in the table.

    Raises:
        CannotExpress: if there is none of that name.
    """
    if name not in workload.names:
        raise CannotExpress(f"layer '{name}' is none of {', '.join(workload.names)}")
    return select(workload, [name])


def on_chip_watt(report: CostReport) -> float:
    """Mean power of all but DRAM."""
    joules = report.total_energy_j - report.energy_parts_j["dram"].sum()
    return float(joules / report.total_latency_s)


def unit_size(text: str, base: str) -> float:
    """Size of a unit in its base: ``ms`` in ``s``.

    Raises:
        CannotExpress: if it is no multiple of it.
    """
    sizes = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    prefix = text.strip().removesuffix(base)
    if prefix not in sizes or not text.strip().endswith(base):
        raise CannotExpress(f"unit '{text}' is no multiple of {base}")
    return sizes[prefix]
