"""Recipes of the FPGA accelerators that compute one layer after the other, and of SCALE-Sim."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hwmodels.devices import load_device
from hwmodels.networks import load_network, network_names, select
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Op, Workload

_NETWORKS: Final = (("vgg16-svd", "vgg16_svd"), ("vgg16", "vgg16"), ("vgg-16", "vgg16"), ("vggnet-e", "vgg19"), ("yolov2", "yolov2_416"))
_RATIO: Final = "a ratio to a processor that no model describes"
_FC_BATCH: Final = 32  # images whose fully connected layers Lu et al. compute together (assumed from their two throughputs of AlexNet)

# The design that Caffeine generates for each chip, and the boards of the first YOLOv2 engine: DRAM in GB/s.
_CAFFEINE: Final = (("KU060", "ku060"), ("VX690T", "vx690t"))
_YOLO_BOARDS: Final[Mapping[str, float]] = MappingProxyType({"PYNQ-Z2": 2.1, "Zedboard": 4.2, "ZCU102": 19.2})

# Wei et al.'s 8-16 bit array: 2912 multipliers in 1456 of about 1500 DSP blocks (recalled), 14 pixels, as VGG-16's maps ask for (assumed).
_WEI_FIXED: Final = MappingProxyType({"filters": 13, "pixel_cols": 14, "channels": 16, "max_bits": 16})


def _network(row: PublishedRow) -> Workload:
    """The row's network."""
    name = row.network.lower()
    for word, table in _NETWORKS:
        if word in name:
            return load_network(table)
    if name in network_names():
        return load_network(name)
    raise CannotExpress(f"there is no layer table of '{row.network}'")


def _layers(network: Workload, row: PublishedRow) -> Workload:
    """The layers of the network that the row is about."""
    text = row.layer.lower()
    if text in {"whole", "all", ""}:
        return network
    named = {name.lower(): name for name in network.names}
    if text in named:
        return select(network, [named[text]])
    convolutions = _convolutions(network).names
    kinds = {"conv": convolutions, "fc": [name for name in network.names if name not in convolutions]}
    for kind, names in kinds.items():
        first = re.fullmatch(rf"(?:(?:all|first (\d+)) )?{kind}s?(?: layers)?", text)
        if first and names:
            return select(network, names[: int(first[1] or len(names))])
    members = [name for name in network.names if re.fullmatch(rf"{re.escape(text)}_\d+", name.lower())]  # conv3 of VGG: conv3_1, ...
    if members:
        return select(network, members)
    raise CannotExpress(f"'{row.network}' has no layer '{row.layer}'")


def _convolutions(workload: Workload) -> Workload:
    ops = np.broadcast_to(workload.op, workload.shape)
    return select(workload, [name for name, op in zip(workload.names, ops, strict=True) if op == Op.CONV])


def _bits(row: PublishedRow, default: int = 16) -> tuple[int, int]:
    """Widths of weights and activations; ``8-16`` has the narrow weights."""
    numbers = [int(n) for n in re.findall(r"\d+", row.precision_bits)] or [default]
    return min(numbers), max(numbers)


def _metric(row: PublishedRow) -> str:
    """The metric without what says which layers or operations it counts, which the layer column and the model say, too."""
    if re.search(r"speed-?up|vs ", row.metric):
        raise CannotExpress(_RATIO)
    return re.sub(r"^(conv|fc|whole-net|effective|average) ", "", row.metric)


def _priced(
    device: str, row: PublishedRow, workload: Workload, parameters: Mapping[str, Any] | None = None, batch: int | None = None
) -> float:
    """The row's figure on a device at the row's clock."""
    clock = {} if row.clock_mhz is None else {"clock_mhz": row.clock_mhz}
    model = load_device(device, clock | dict(parameters or {}))
    return figure(model.estimate(workload), workload, _metric(row), row.unit, batch)


def _workload(row: PublishedRow, *, default_batch: int = 1, bits: tuple[int, int] | None = None) -> Workload:
    weight, activation = bits or _bits(row)
    shape = np.full((), row.batch or default_batch)
    return _layers(_network(row), row).replace(weight_bits=np.full((), weight), activation_bits=np.full((), activation), batch=shape)


def _plain(device: str, *, default_batch: int = 1) -> Recipe:
    """A device file as it is, at the row's batch, width and clock."""

    def recipe(row: PublishedRow) -> float:
        return _priced(device, row, _workload(row, default_batch=default_batch))

    return recipe


def _wei(row: PublishedRow) -> float:
    """Both figures are of convolutions only; the text calls the better of two networks the best."""
    convolutions = replace(row, layer="all conv") if row.layer == "best" else row
    if "fp32" in row.precision_bits:
        return _priced("wei17_systolic", row, _workload(convolutions))
    return _priced("wei17_systolic", row, _workload(convolutions, bits=(8, 16)), _WEI_FIXED)


def _lu(row: PublishedRow) -> float:
    """Convolutions image by image, with their weights each time; fully connected layers once for a batch."""
    workload = _workload(row)
    convolution = np.broadcast_to(workload.op, workload.shape) == Op.CONV
    if row.batch or convolution.all():
        return _priced("lu17_winograd", row, workload)
    return _priced("lu17_winograd", row, _one_by_one(workload, convolution, _FC_BATCH), batch=_FC_BATCH)


def _caffeine(row: PublishedRow) -> float:
    """Fully connected layers image by image: both whole networks take longer than their convolutions by all weights per image."""
    for word, device in _CAFFEINE:
        if word in row.device_tech:
            workload, batch = _workload(row), row.batch or 1
            linear = np.broadcast_to(workload.op, workload.shape) != Op.CONV
            return _priced(device, row, _one_by_one(workload, linear, batch), batch=batch)
    raise CannotExpress(f"Caffeine on '{row.device_tech}' has no published array that is known here")


def _one_by_one(workload: Workload, which: NDArray[np.bool_], batch: int) -> Workload:
    """A batch of which some layers are computed image by image, with their weights each time, the others all together."""
    return workload.replace(batch=np.where(which, 1, batch), repeats=np.where(which, batch, 1))


def _yolo(row: PublishedRow) -> float:
    """The tiling is in the row: Tn, Tm, Tr, Tc and the initiation interval."""
    found = {name: int(number) for name, number in re.findall(r"(Tn|Tm|Tr|Tc|II)(\d+)", str(row.other.get("tiling", "")))}
    keys = {"Tn": "channels", "Tm": "filters", "Tr": "tile_rows", "Tc": "tile_cols", "II": "interval"}
    parameters: dict[str, Any] = {keys[name]: number for name, number in found.items()}
    if "32" in row.precision_bits:
        parameters["max_bits"] = 32
    return _priced("zu3eg_yolov2", row, _workload(row), parameters)


def _yolo_first(row: PublishedRow) -> float:
    """One engine on three boards; lanes are in the row as ``n4m32``."""
    if row.device_tech not in _YOLO_BOARDS:
        raise CannotExpress(f"the DRAM of board '{row.device_tech}' is not known here")
    lanes = re.search(r"n(\d+)m(\d+)", row.units_text)
    parameters = {"channels": int(lanes[1]), "filters": int(lanes[2])} if lanes else {}
    return _priced("pynq_z2_yolov2", row, _workload(row), parameters | {"dram_gb_per_s": _YOLO_BOARDS[row.device_tech]})


def _fused(row: PublishedRow) -> float:
    """Single-precision maps that enter the first and leave the last of the fused layers; weights are not counted."""
    if "traffic" not in row.metric:
        raise CannotExpress("the resources and cycles of the fused pipeline are not given with its factors")
    workload = _workload(row, bits=(32, 32))
    last = np.arange(len(workload.names)) == len(workload.names) - 1
    fused = workload.replace(fused=np.where(last, 0, 1))
    report = load_device("vc707").estimate(fused)
    maps = report.dram_bytes.sum() - fused.weight_storage_bits.sum() / 8
    megabytes = 1e6 if row.unit.startswith("MB") else 1e3
    return float(maps / megabytes)


def _scalesim(row: PublishedRow) -> float:
    """One array without double buffers; the sizes of a layer that no table has may stand in the row."""
    array = re.search(r"(\d+)x(\d+) (WS|OS|IS)", row.device_tech, re.IGNORECASE)
    if not array:
        raise CannotExpress(f"'{row.device_tech}' names no array and dataflow")
    rows, cols = int(array[1]), int(array[2])
    parameters = {"rows": rows, "cols": cols, "arrays": 1, "dataflow": array[3].lower(), "weight_double_buffer": False}
    workload = _scalesim_workload(row).replace(weight_bits=np.full((), 16), activation_bits=np.full((), 16))
    cycles = float(load_device("zcu102", parameters).estimate(workload).cycles.sum())
    if "util" in row.metric:
        return 100 * float(workload.macs.sum()) / (cycles * rows * cols)
    if "cycles" not in row.metric or "stall" in row.metric:
        raise CannotExpress("SCALE-Sim's stalls depend on buffer sizes that the row does not give")
    return cycles


def _scalesim_workload(row: PublishedRow) -> Workload:
    name = f"scalesim_{row.network.lower()}"
    if name in network_names():
        table = load_network(name)
        return table if row.layer.lower() == "whole" else _layers(table, row)
    if not {"M", "K", "N"} <= set(row.other):
        raise CannotExpress(f"there is no layer table of '{row.network}' as SCALE-Sim counts it")
    m, k, n = (np.array([int(row.other[size])]) for size in "MKN")
    return Workload(names=(row.layer,), in_channels=k, out_channels=n, in_h=m, out_h=m)


def _refuse(reason: str) -> Callable[[PublishedRow], float]:
    def recipe(row: PublishedRow) -> float:
        raise CannotExpress(reason)

    return recipe


RECIPES: Final[dict[str, Recipe]] = {
    "Zhang15": _plain("vc707"),
    "Qiu16": _plain("zc706_qiu16"),
    "Ma17": _plain("arria10"),
    "Wei17-systolic": _wei,
    "Intel-DLA": _plain("intel_dla", default_batch=96),  # images whose fully connected layers are computed together (recalled)
    "Lu17-Winograd": _lu,
    "Suda16": _plain("stratix5_gsd8"),
    "Caffeine": _caffeine,
    "yolov2-hls-A": _yolo,
    "yolov2-hls-B": _yolo,
    "yolov2-hls-C": _yolo,
    "yolov2-hls-old": _yolo_first,
    "FusedLayer": _fused,
    "SCALE-Sim-3.0.0": _scalesim,
    "Liu21-fullstack": _refuse("an overlay for many networks whose array, clock and batch the source does not give"),
    "XVDPU": _refuse("an engine of Versal's vector processors, which are no DSP slices of a fabric"),
    "MDPI-Zynq-CNN": _refuse("neither the array nor clock, width and densities are given"),
}
