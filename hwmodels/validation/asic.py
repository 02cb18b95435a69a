"""Recipes of the ASICs that know about zeros."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from hwmodels.networks import load_network, select
from hwmodels.validation import asic_eyeriss
from hwmodels.validation.asic_rows import clocked, convolutions, on_chip_watt, sparse_device, unit_size
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Op, Pattern, Workload

# Weights that are left in the convolutions after pruning (Han et al., NIPS 2015, tables 4 and 5).
_PRUNED: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "alexnet": (0.84, 0.38, 0.35, 0.37, 0.37),
        "vgg16": (0.58, 0.22, 0.34, 0.36, 0.53, 0.24, 0.42, 0.32, 0.27, 0.34, 0.35, 0.29, 0.36),
    }
)
_INPUT_DENSITY: Final = 0.56  # 44 % of the inputs of convolutions are zeros, mean of six networks (Albericio et al., ISCA 2016, abstract)
# GoogLeNet's densities are a plot in the SCNN paper; its text says that zeros typically save a factor of four (recalled).
_TYPICAL_PRUNED: Final = 0.25 / _INPUT_DENSITY

_SCNN_NETWORKS: Final = MappingProxyType({"alexnet": "alexnet", "googlenet": "googlenet", "vgg": "vgg16"})
_CNVLUTIN_NETWORKS: Final = ("alexnet", "googlenet", "vgg19")  # of the six; the others have no layer table here

# Percent of the MACs that EIE executes, which the paper prints beside the two densities (Han et al., ISCA 2016, table III, recalled).
_EIE_EXECUTED: Final = MappingProxyType(
    {"Alex-6": 3, "Alex-7": 3, "Alex-8": 10, "VGG-6": 1, "VGG-7": 2, "VGG-8": 9, "NT-We": 10, "NT-Wd": 11, "NT-LSTM": 11}
)

_DSTC_DENSE: Final = 4600.0  # the dense product in the units of the digitised figure: they have no other definition


def dual_side_core(row: PublishedRow) -> float:
    """Wang et al., ISCA 2021, fig. 21, digitised without a unit: the dense product is the unit, the rest is modelled.

    A are the activations and B the weights of a linear layer on a sequence.
    """
    found = re.fullmatch(r"GEMM (\d+)\^3", row.network.strip())
    if not found:
        raise CannotExpress(f"network '{row.network}' is no square matrix product")
    size = np.array([int(found.group(1))])
    product = Workload(names=("gemm",), op=np.array([Op.LINEAR]), in_channels=size, out_channels=size, in_h=size, out_h=size).replace(
        weight_bits=16, activation_bits=16
    )
    sparse = product.replace(
        weight_density=float(row.other["B_density"]), activation_density=float(row.other["A_density"]), pattern=Pattern.FINE
    )
    device = sparse_device("dstc")
    return float(_DSTC_DENSE * device.estimate(sparse).total_latency_s / device.estimate(product).total_latency_s)


def eie(row: PublishedRow) -> float:
    """Han et al., ISCA 2016: theoretical time is the work, padding zeros included, over the peak."""
    device, metric = clocked("eie", row), row.metric.lower()
    if " vs " in metric:
        raise CannotExpress("a ratio to a processor that is not modelled")
    workload = _eie_layers()
    if row.layer in workload.names:
        workload = select(workload, [row.layer])
    elif "alex" in f"{row.network} {row.layer}".lower():
        workload = select(workload, ["Alex-6", "Alex-7", "Alex-8"])
    if metric == "sparse throughput":  # of the chip: two operations for each stored weight
        return float(2 * device.pes * device.clock_hz) / unit_size(row.unit, "OPS")
    report = device.estimate(workload)
    if metric.startswith("theoretical"):
        return float((report.utilization * report.latency_s).sum()) / unit_size(row.unit, "s")
    if metric.endswith("time"):
        return figure(report, workload, "latency", row.unit)
    if metric.endswith("power"):
        return on_chip_watt(report) / unit_size(row.unit, "W")
    is_rate = re.search(r"fps|(frames?|images?|img)/s", row.unit) is not None
    return figure(report, workload, "frame rate" if is_rate else metric.removeprefix("dense-equivalent "), row.unit)


def _eie_layers() -> Workload:
    """The nine layers; densities are printed in whole percent, and so is their product, which narrows them down."""
    layers = load_network("eie_fc")
    printed = np.array([_EIE_EXECUTED[name] for name in layers.names])
    executed = np.clip(layers.weight_density * layers.activation_density, (printed - 0.5) / 100, (printed + 0.5) / 100)
    return layers.replace(weight_density=executed / layers.activation_density, pattern=Pattern.FINE)


def _after_an_image(layers: Workload) -> Workload:
    """The first layer reads an image, which has no zeros; the others read what a rectifier left."""
    return layers.replace(activation_density=np.where(np.arange(len(layers.names)) == 0, 1.0, _INPUT_DENSITY))


def scnn(row: PublishedRow) -> float:
    """Parashar et al., ISCA 2017: cycles against DCNN, 64 PEs that multiply 16 inputs of a dot product at once on the same patches.

    Weights as pruned by Han et al.; the inputs have the mean density that the Cnvlutin paper measured.
    """
    if row.metric == "area":
        raise CannotExpress("an input of the model")
    if "speedup" not in row.metric:
        raise CannotExpress("the memories of the dense reference are not published")
    networks = [table for name, table in _SCNN_NETWORKS.items() if name in row.network.lower()]
    if not networks:
        raise CannotExpress(f"no densities of '{row.network}' are published")
    return float(np.mean([_scnn_speedup(name) for name in networks]))


def _scnn_speedup(network: str) -> float:
    layers = _after_an_image(convolutions(network)).replace(weight_density=_PRUNED.get(network, _TYPICAL_PRUNED), pattern=Pattern.FINE)
    patches = np.ceil(layers.out_h / 8) * np.ceil(layers.out_w / 8)
    dense = patches * np.ceil(layers.gemm_k / 16) * layers.gemm_n * layers.groups
    return float(dense.sum() / sparse_device("scnn").estimate(layers).cycles.sum())


def cnvlutin(row: PublishedRow) -> float:
    """Albericio et al., ISCA 2016: cycles against the same multipliers on dense inputs (DaDianNao), mean over networks.

    The inputs have the mean density of the paper.
    """
    if "speedup" not in row.metric:
        raise CannotExpress("only the speed-up is modelled against DaDianNao")
    return float(np.mean([_cnvlutin_speedup(name) for name in _CNVLUTIN_NETWORKS]))


def _cnvlutin_speedup(network: str) -> float:
    layers, device = convolutions(network), sparse_device("cnvlutin")
    return float(device.estimate(layers).cycles.sum() / device.estimate(_after_an_image(layers)).cycles.sum())


RECIPES: Final[dict[str, Recipe]] = {
    **asic_eyeriss.RECIPES,
    "Cnvlutin": cnvlutin,
    "DSTC": dual_side_core,
    "EIE": eie,
    "SCNN": scnn,
}
