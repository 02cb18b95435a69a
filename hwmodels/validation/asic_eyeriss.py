"""Recipes of Eyeriss, its successor, and Timeloop's models of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from hwmodels.devices import load_device
from hwmodels.networks import load_network
from hwmodels.validation.asic_rows import clocked, convolutions, layers_of, on_chip_watt, one_layer, sparse_device, unit_size
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Ints, Pattern, Workload

# Zeros in the inputs of the convolutions, measured by the chip's authors (Chen et al., JSSC 2017, tables V and VI; recalled).
_ZEROS: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "alexnet": (0.0001, 0.387, 0.725, 0.793, 0.776),
        "vgg16": (0.016, 0.477, 0.248, 0.387, 0.397, 0.581, 0.587, 0.643, 0.747, 0.854, 0.794, 0.874, 0.885),
    }
)
_BATCH: Final = MappingProxyType({"alexnet": 4, "vgg16": 3})  # images of a run, same tables

_RS_PARTS: Final = MappingProxyType({"alu": "mac", "rf": "register", "noc": "noc", "glb": "buffer", "buffer": "buffer", "dram": "dram"})


def eyeriss(row: PublishedRow) -> float:
    """Chen et al., JSSC 2017: processing latency is the cycles of the array, total latency includes loading and unloading the maps.

    Chip power leaves out DRAM. The zeros of the inputs are those that the authors measured.
    """
    network = row.network.lower().replace("-", "")
    if network not in _ZEROS:
        raise CannotExpress(f"the zeros of '{row.network}' are not published")
    density = 1 - np.array(_ZEROS[network])
    workload = layers_of(convolutions(network).replace(activation_density=density, batch=row.batch or _BATCH[network]), row.layer)
    device = clocked("eyeriss", row)
    report = device.estimate(workload)
    metric = row.metric.lower()
    if metric.startswith("processing latency"):
        return figure(report, workload, "cycles", "cycles") / float(device.clock_hz) / unit_size(row.unit, "s")
    if metric.startswith(("total latency", "latency")):
        return figure(report, workload, "latency", row.unit)
    if metric.endswith("power"):
        return on_chip_watt(report) / unit_size(row.unit, "W")
    if metric == "active pes":
        return float(np.average(device.array.active_pes(device.packed(workload)), weights=workload.macs))
    if metric.startswith("dram accesses"):
        return float(report.dram_bytes.sum() / 2 / workload.macs.sum())  # 16-bit accesses
    return figure(report, workload, row.metric, row.unit)


def row_stationary_model(row: PublishedRow) -> float:
    """Chen et al., ISCA 2016, fig. 10: energies relative to a MAC, dense, for 256 PEs (16 x 16) and 128 KB.

    MAC 1, register file 1, array 2, global buffer 6, DRAM 200. Maps are counted with their padding (31 rows for conv2), as in the
    paper's table; all of the buffer but the input bank holds partial sums.
    """
    costs = {"mac_energy_pj": 1.0, "register_energy_pj": 1.0, "noc_energy_pj": 2.0, "buffer_energy_pj": 6.0, "dram_energy_pj": 200.0}
    device = sparse_device("eyeriss", pes=16, lanes=16, buffer_kb=128, filter_buffer_kb=0, map_format="dense", **costs)
    part = _RS_PARTS.get(row.metric.lower().removesuffix(" energy"))
    if part is None:
        raise CannotExpress(f"metric '{row.metric}' is none of {', '.join(_RS_PARTS)}")
    name = {"fc1": "fc6", "fc2": "fc7", "fc3": "fc8"}.get(row.layer, row.layer)
    workload = one_layer(load_network("alexnet"), name).replace(weight_bits=16, activation_bits=16, batch=row.batch or 16)
    padded = {f"in_{side}": (out - 1) * workload.stride + kernel for side, out, kernel in _sides(workload)}
    workload = workload.replace(**padded)
    return float(device.estimate(workload).energy_parts_j[part].sum() / 1e-12 / 1e9)


def _sides(layer: Workload) -> tuple[tuple[str, Ints, Ints], ...]:
    """Output pixels and kernel along both sides of a map."""
    return ("h", layer.out_h, layer.kernel_h), ("w", layer.out_w, layer.kernel_w)


def timeloop_eyeriss(row: PublishedRow) -> float:
    """Cycles of the MACs alone: Timeloop counts neither hand-over of partial sums nor loading of filters."""
    if "cycles" not in row.metric:
        raise CannotExpress("only the cycles of Timeloop's mapping are comparable; its energies come from another table")
    if row.network == "AlexNet":
        workload = layers_of(convolutions("alexnet").replace(batch=row.batch or 4), row.layer)
    else:
        workload = _default_problem(row)
    device = sparse_device("eyeriss")
    return float(device.array.mac_cycles(device.packed(workload)).sum())


def _default_problem(row: PublishedRow) -> Workload:
    """The layer that Timeloop's examples map, as in 'default conv C3 M32 P112 R3 stride2'."""
    found = re.search(r"C(\d+) M(\d+) P(\d+) R(\d+) stride(\d+)", row.network)
    if not found:
        raise CannotExpress(f"network '{row.network}' names no layer sizes")
    inputs, outputs, pixels, kernel, stride = (np.array([int(text)]) for text in found.groups())
    size = pixels * stride
    shape = {"in_h": size, "in_w": size, "out_h": pixels, "out_w": pixels, "kernel_h": kernel, "kernel_w": kernel, "stride": stride}
    return Workload(names=("conv",), in_channels=inputs, out_channels=outputs, **shape)


def eyeriss_v2_pe(row: PublishedRow) -> float:
    """Wu et al., MICRO 2022, fig. 12: cycles of one PE with one MAC on the layers of a pruned MobileNet.

    Densities are those of the row. Where it has only the result of Sparseloop's uniform model, the share of MACs whose operands are
    both non-zero is read off that, as an input, and split evenly between weights and activations.
    """
    workload = one_layer(load_network("mobilenet_v1_050_128"), row.layer.strip()).replace(batch=row.batch or 1)
    uniform = row.other.get("sparseloop_uniform_model_cycles")
    if "w_density" in row.other and "act_density" in row.other:
        workload = workload.replace(weight_density=row.other["w_density"], activation_density=row.other["act_density"])
    elif uniform is not None:
        each = np.sqrt(np.minimum(float(uniform) / workload.macs.sum(), 1))
        workload = workload.replace(weight_density=each, activation_density=each)
    return figure(sparse_device("eyeriss_v2_pe").estimate(workload.replace(pattern=Pattern.FINE)), workload, "cycles", row.unit)


def channels_by_filters(row: PublishedRow) -> float:
    """Simba's 256 multipliers as Timeloop's example spreads them: 16 input channels by 16 filters, as in a tile of DaDianNao."""
    if "cycles" not in row.metric:
        raise CannotExpress("only the cycles of Timeloop's mapping are comparable; its energies come from another table")
    workload = _default_problem(row)
    return figure(load_device("dadiannao", {"cols": 16}).estimate(workload), workload, "cycles", row.unit)


def _other_mapper(row: PublishedRow) -> float:
    raise CannotExpress("the example's constraints leave 12 of 256 multipliers busy, which is no architecture of ours")


RECIPES: Final[dict[str, Recipe]] = {
    "Eyeriss": eyeriss,
    "Eyeriss-RS-model": row_stationary_model,
    "EyerissV2-PE": eyeriss_v2_pe,
    "Timeloop-Eyeriss": timeloop_eyeriss,
    "Timeloop-eyeriss_like": timeloop_eyeriss,
    "Timeloop-simba_like": channels_by_filters,
    "Timeloop-simple_weight_stationary": _other_mapper,
}
