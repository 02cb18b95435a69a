"""Published rows of dense accelerators (TPU, BitFusion) and of the technology tables that the laws of energy are checked on."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from hwmodels.dense import DenseAccelerator
from hwmodels.devices import load_device
from hwmodels.networks import load_network
from hwmodels.technology import (
    add_energy_pj,
    composable_energy_pj,
    mac_energy_pj,
    memory_energy_pj_per_bit,
    multiply_energy_pj,
    node_energy_scale,
)
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Op, Workload

# The TPU's benchmarks, Jouppi et al., ISCA 2017, Table 1 (recalled): fully connected layers, their width, and the batch. Only the
# numbers of layers and weights are published. Widths are the multiple of the array's 256 that comes closest to the weights, because
# Table 3 shows few unused multipliers; LSTM1 has matrices of 600 x 600 (its section on larger arrays), 94 of them make its 34 M weights.
_TPU_LINEAR: Final = {"MLP0": (5, 2048, 200), "MLP1": (4, 1024, 168), "LSTM0": (24, 1536, 64), "LSTM1": (94, 600, 96)}
# CNN0: 16 convolutions and 8 M weights; 2888 operations per weight are 8 boards of 19 x 19 points, 3 x 3 kernels, 256 channels.
_TPU_CNN0: Final = {"layers": 16, "channels": 256, "edge": 19, "batch": 8}

_KIB: Final = 1024
_GLB_BYTES: Final = 108 * _KIB  # Eyeriss' global buffer (Chen et al., JSSC 2017)
_SPAD_BYTES: Final = {"ifmap": 24, "weight": 448, "psum": 48}  # its scratchpads of 12, 224 and 24 words of 16 bits

# Why a component is not computed, by what stands in its name; the first that fits.
_REFUSALS: Final = (
    (r"^fp", "floating point follows none of our laws; the models price integers"),
    (r"int32|SRAM 8KB|DRAM 16b|inter-PE|^RF|gated", "an input of the model"),
    (r"DRAM", "the kind of DRAM is not stated"),
    (r"", "a component that none of the models contains"),
)


def tpu(row: PublishedRow) -> float:
    """Peak, or achieved operations per second of one benchmark."""
    device = _dense("tpu_v1", row)
    if "peak" in row.metric:
        return 2 * float(device.units) * float(device.clock_hz) / 1e12
    if "throughput" not in row.metric:
        raise CannotExpress("only throughput is modelled; power is that of a server")
    workload = _tpu_network(row)
    return figure(device.estimate(workload), workload, "throughput", row.unit)


def _tpu_network(row: PublishedRow) -> Workload:
    if row.network in _TPU_LINEAR:
        layers, width, batch = _TPU_LINEAR[row.network]
        return Workload(
            names=tuple(f"fc{i}" for i in range(layers)),
            op=np.full((), Op.LINEAR),
            in_channels=np.full(layers, width),
            out_channels=np.full(layers, width),
            batch=np.full((), row.batch or batch),
            weight_bits=np.full((), 8),
            activation_bits=np.full((), 8),
        )
    if row.network != "CNN0":
        raise CannotExpress("the shapes of its layers are not published, and its shallow ones decide")
    layers, edge = _TPU_CNN0["layers"], np.full((), _TPU_CNN0["edge"])
    channels, kernel, bits = np.full(layers, _TPU_CNN0["channels"]), np.full((), 3), np.full((), 8)
    return Workload(
        names=tuple(f"conv{i}" for i in range(layers)),
        in_channels=channels,
        out_channels=channels,
        kernel_h=kernel,
        kernel_w=kernel,
        in_h=edge,
        in_w=edge,
        out_h=edge,
        out_w=edge,
        batch=np.full((), row.batch or _TPU_CNN0["batch"]),
        weight_bits=bits,
        activation_bits=bits,
    )


def bitfusion(row: PublishedRow) -> float:
    """Cycles of one layer of the doubled AlexNet, those in which the array waits for memory included."""
    if not row.metric.startswith("cycles"):
        raise CannotExpress("only cycles are modelled of its simulator's output")
    if "AlexNet-2x" not in row.network:
        raise CannotExpress("only its doubled AlexNet is a network here")
    network, device = load_network("bitfusion_alexnet").replace(batch=np.full((), row.batch or 16)), _dense("bitfusion", row)
    cycles = device.estimate(network).latency_s * device.clock_hz  # of the whole network: its first layer differs from the others
    if row.layer in {"whole", "-"}:
        return float(cycles.sum())
    if row.layer not in network.names:
        raise CannotExpress(f"no layer is called '{row.layer}'; there are {', '.join(network.names)}")
    return float(cycles[network.names.index(row.layer)])


def bitfusion_unit(row: PublishedRow) -> float:
    """Energy per cycle of one synthesised element, from Horowitz' multiplier and adder."""
    widths = re.search(r"energy/cycle max(\d+)b min(\d+)b", row.metric)
    if not widths:
        raise CannotExpress("leakage and area of a unit are inputs of the device file")
    widest, narrowest = int(widths[1]), int(widths[2])
    plain = widest == narrowest
    return _at_node(float(mac_energy_pj(widest, widest)) if plain else composable_energy_pj(widest, narrowest), row)


def horowitz(row: PublishedRow) -> float:
    """Entries of the table that its other entries and the laws of width and capacity give: int8 from int32, memories from 8 KB."""
    integer = re.fullmatch(r"int(\d+) (add|mult)", row.metric)
    if integer and integer[1] != "32":
        bits = int(integer[1])
        return float(add_energy_pj(bits) if integer[2] == "add" else multiply_energy_pj(bits, bits))
    memory = re.fullmatch(r"SRAM (\d+)(KB|MB) (\d+)b access", row.metric)
    if memory and memory[1] + memory[2] != "8KB":
        capacity = int(memory[1]) * (_KIB if memory[2] == "KB" else _KIB**2)
        return float(memory_energy_pj_per_bit(capacity)) * int(memory[3])
    raise _refusal(row)


def component(row: PublishedRow) -> float:
    """Components of other libraries, from Horowitz' 45 nm entries by the laws of width, capacity and node."""
    if found := re.fullmatch(r"(\d+)b MAC", row.metric):
        return _at_node(float(mac_energy_pj(int(found[1]), int(found[1]))), row)
    if found := re.fullmatch(r"(\d+)b (adder|multiplier)\b.*", row.metric):
        bits = int(found[1])
        return _at_node(float(add_energy_pj(bits) if found[2] == "adder" else multiply_energy_pj(bits, bits)), row)
    if found := re.match(r"(?:GLB|global buffer) (\d+)b", row.metric):
        return _at_node(float(memory_energy_pj_per_bit(_GLB_BYTES)) * int(found[1]), row)
    if found := re.match(r"(ifmap|weight|psum) spad", row.metric):
        return _at_node(float(memory_energy_pj_per_bit(_SPAD_BYTES[found[1]])) * 16, row)
    raise _refusal(row)


def _refusal(row: PublishedRow) -> CannotExpress:
    return CannotExpress(next(reason for pattern, reason in _REFUSALS if re.search(pattern, row.metric)))


def _at_node(energy_pj: float, row: PublishedRow) -> float:
    """An energy at 45 nm, scaled to the row's node; 40 to 45 nm counts as 45."""
    found = re.search(r"(\d+)\s*nm", row.device_tech)
    if not found:
        raise CannotExpress(f"no node is stated in '{row.device_tech}'")
    return energy_pj * float(node_energy_scale(int(found[1])))


def _dense(name: str, row: PublishedRow) -> DenseAccelerator:
    """A device at the clock and bandwidth of the row, where it states them."""
    stated = {"clock_mhz": row.clock_mhz, "dram_gb_per_s": row.bandwidth_gb_per_s}
    device = load_device(name, {key: value for key, value in stated.items() if value is not None})
    assert isinstance(device, DenseAccelerator)
    return device


RECIPES: Final[dict[str, Recipe]] = {
    "Accelergy-Aladdin": component,
    "Accelergy-Eyeriss-ERT": component,
    "BitFusion": bitfusion,
    "BitFusion-PE": bitfusion_unit,
    "Horowitz-energy": horowitz,
    "TPUv1": tpu,
    "nn_dataflow-65nm": component,
}
