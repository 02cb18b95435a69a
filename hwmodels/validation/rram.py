"""Recipes of the RRAM crossbars: NeuRRAM's silicon, ISAAC's tables, and the simulators NeuroSim and MNSIM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np

from hwmodels.converters import adc_energy_scale
from hwmodels.cost import CostReport
from hwmodels.crossbar import Crossbar
from hwmodels.devices import load_device
from hwmodels.errors import WorkloadError
from hwmodels.networks import load_network, select
from hwmodels.validation.metrics import figure
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Op, Workload

_NEURRAM_CORES: Final = 48
_NEURRAM_WEIGHTS: Final = 128  # a core's 256 columns are 128 differential pairs
_ONE_PHASE: Final = 31  # bit planes: an input of any width is applied in one phase
_NEURRAM_PARTS: Final = MappingProxyType({"WL": ("dac",), "input": ("array",), "neuron": ("sample_hold", "adc")})

# Table I of the ISAAC paper counts the chip-to-chip links into the chip, which the device leaves off (recalled).
_HYPERTRANSPORT: Final = MappingProxyType({"static_power_mw": 10_400.0, "links_area_mm2": 22.88})
_ISAAC_BITS: Final = 16

_UNSIZED: Final = frozenset({"wang22", "colonnade"})  # macros whose device files assume sizes and times
_FITTED_AT: Final = MappingProxyType({"jia20": 0.85})  # macros with as many constants as figures at this supply voltage


def _crossbar(name: str, **parameters: object) -> Crossbar:
    device = load_device(name, parameters)
    assert isinstance(device, Crossbar)
    return device


def _full_chip(device: Crossbar, columns: int, weight_bits: int, activation_bits: int) -> Workload:
    """One product on every crossbar, each with its own inputs: a grouped layer of as many groups as crossbars."""
    groups = int(np.max(device.crossbars))
    return Workload(
        names=("product",),
        op=np.full((), Op.CONV),
        in_channels=np.array([groups * int(np.max(device.rows))]),
        out_channels=np.array([groups * columns]),
        groups=np.array([groups]),
        weight_bits=np.full((), weight_bits),
        activation_bits=np.full((), activation_bits),
    )


def neurram(row: PublishedRow) -> float:
    """One product on all cores at the row's widths; the energy of figure 12 is that of the cores, buffers left out."""
    if "area fraction" in row.metric:
        raise CannotExpress("the areas of a core's parts are inputs of the device file")
    widths = re.fullmatch(r"in(\d+)/w(\d+)/out(\d+)", row.precision_bits)
    if not widths:
        raise CannotExpress(f"precision '{row.precision_bits}' is not in<bits>/w<bits>/out<bits>")
    inputs, weights, outputs = (int(bits) for bits in widths.groups())
    phases = {"phase_bits": _ONE_PHASE} if row.other.get("phase") == "one" else {}
    device = _crossbar("neurram", adc_bits=outputs, **phases)
    workload = _full_chip(device, _NEURRAM_WEIGHTS, weights, inputs)
    report = device.estimate(workload)
    operations = 2.0 * float(workload.macs.sum())
    if row.metric == "throughput":
        return figure(report, workload, row.metric, row.unit)
    parts = next((parts for word, parts in _NEURRAM_PARTS.items() if row.metric.startswith(word)), None)
    if parts is not None and row.unit == "fJ/op":
        return _joules(report, *parts) / operations * 1e15
    if row.metric == "efficiency" and row.unit == "TOPS/W":
        return operations / _joules(report, *(part for parts in _NEURRAM_PARTS.values() for part in parts)) / 1e12
    raise CannotExpress("the model has no such figure of a core")


def _joules(report: CostReport, *parts: str) -> float:
    return float(sum(report.energy_parts_j[part].sum() for part in parts))


def isaac(row: PublishedRow) -> float:
    """What Table I sums up: areas, and the power and peak rate of a chip whose crossbars all work."""
    device = _crossbar("isaac", **_HYPERTRANSPORT)
    workload = _full_chip(device, int(np.max(device.cols)) * int(np.max(device.cell_bits)) // _ISAAC_BITS, _ISAAC_BITS, _ISAAC_BITS)
    report = device.estimate(workload)
    power_w = float(report.total_energy_j) / float(report.total_latency_s)
    operations_per_s = 2.0 * float(workload.macs.sum()) / float(report.total_latency_s)
    area = float(report.area_mm2)
    tiles = int(np.max(device.crossbars)) / int(np.max(device.crossbars_per_tile))
    figures = {
        "tile area": (area - _HYPERTRANSPORT["links_area_mm2"]) / tiles,
        "chip area": area,
        "chip power": power_w,
        "ISAAC-CE comp. efficiency": operations_per_s / area / 1e9,
        "ISAAC-PE power efficiency": operations_per_s / power_w / 1e9,
    }
    found = next((value for name, value in figures.items() if row.metric.startswith(name)), None)
    if found is not None:
        return found
    if row.unit == "x":
        raise CannotExpress("a ratio against DaDianNao on a mean of networks whose mappings are not published")
    raise CannotExpress("an input of the device file")


def isaac_component(row: PublishedRow) -> float:
    """Converters of other resolutions from the 8-bit one by the law of the capacitors; everything else is an input."""
    resolution = re.match(r"(\d+)b ADC energy", row.metric)
    if resolution and row.unit == "pJ" and resolution[1] != "8":
        device = _crossbar("isaac")
        return float(device.adc_energy_j * adc_energy_scale("sar", int(resolution[1]), 8)) * 1e12
    raise CannotExpress("an input of the device file")


_NEUROSIM_INPUTS: Final = ("chip area", "adc energy", "leakage energy")


def neurosim(row: PublishedRow) -> float:
    """VGG-8 with 8-bit weights and activations, layer by layer."""
    if not row.network.startswith("VGG8"):
        raise CannotExpress("only its default network is a layer table here")
    workload = load_network("vgg8_cifar").replace(weight_bits=8, activation_bits=8)
    try:
        layers = workload if row.layer == "whole" else select(workload, [row.layer])
    except WorkloadError as error:
        raise CannotExpress(str(error)) from None
    device = _crossbar("neurosim")
    report = device.estimate(layers)
    metric = row.metric.lower()
    if metric in _NEUROSIM_INPUTS:
        raise CannotExpress("an input of the device file, which takes this total of the run")
    if metric == "array area":
        return float(report.resources["crossbars"]) * float(device.crossbar_area_parts_mm2()["cells"])
    if metric == "dynamic energy":
        dynamic_j = float(report.total_energy_j) - _joules(report, "static", "writing")
        return dynamic_j * {"pJ": 1e12, "nJ": 1e9, "uJ": 1e6, "mJ": 1e3}[row.unit]
    return figure(report, layers, metric, row.unit)


def mnsim(row: PublishedRow) -> float:
    """Its CIFAR-10 networks at 9 bit, with and without pipelining between the layers."""
    network = f"mnsim_{row.network.split()[0].lower()}"
    try:
        workload = load_network(network)
    except WorkloadError as error:
        raise CannotExpress(str(error)) from None
    if row.metric.startswith("latency"):
        pipelined = "no inner pipeline" not in row.metric
        report = _crossbar("mnsim", pipelined=pipelined).estimate(workload)
        return figure(report, workload, "latency", row.unit)
    if row.metric == "power" and row.unit == "W":
        return _busy_power_w(workload)
    return figure(_crossbar("mnsim").estimate(workload), workload, row.metric, row.unit)


def _busy_power_w(workload: Workload) -> float:
    """MNSIM's power: all layers at once, each part of a layer drawing its power while it works.

    It counts the converters that are wired to the columns of a layer, so that a narrow layer keeps few of them busy.
    """
    report = _crossbar("mnsim").estimate(workload)
    alone = {"pipelined": False, "wired_mux": True, "add_ns": 0, "output_transfer_ns": 0}
    converting_s = _crossbar("mnsim", read_ns=0, **alone).estimate(workload).latency_s
    reading_s = _crossbar("mnsim", conversion_ns=0, **alone).estimate(workload).latency_s
    return float((report.energy_parts_j["adc"] / converting_s + report.energy_parts_j["shift_add"] / reading_s).sum())


def macro(row: PublishedRow) -> float:
    """A single SRAM macro at the row's supply voltage, every cell in use."""
    name, supply_v = row.system.split("-")[0].lower(), row.other.get("V")
    if name in _FITTED_AT and supply_v == _FITTED_AT[name]:
        raise CannotExpress("an input of the device file, whose constants were set to the figures at this supply voltage")
    device = _crossbar(name, crossbars=1, **({} if supply_v is None else {"supply_v": float(supply_v)}))
    widths = re.fullmatch(r"(\d+)/(\d+)", row.precision_bits)
    if not widths:
        raise CannotExpress(f"precision '{row.precision_bits}' is not <inputs>/<weights>")
    inputs, weights = (int(bits) for bits in widths.groups())
    columns = int(np.max(device.cols)) * int(np.max(device.cell_bits)) // weights
    workload = _full_chip(device, columns, weights, inputs)
    if device.name in _UNSIZED and row.unit not in {"TOPS/W", "fJ/MAC"}:
        raise CannotExpress("only the energy of an operation is modelled of this macro")
    return figure(device.estimate(workload), workload, row.metric, row.unit)


def _refused(reason: str) -> Recipe:
    def refuse(row: PublishedRow) -> float:
        raise CannotExpress(reason)

    return refuse


_TITLE: Final = _refused("a range from the title of a paper; widths, sparsity and parts that belong to it are not given")
_RATIO: Final = _refused("a ratio against a machine whose networks and mappings are not published")

RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "NeuRRAM": neurram,
        "ISAAC": isaac,
        "ISAAC-components": isaac_component,
        "DNN+NeuroSim-V1.3": neurosim,
        "MNSIM-2.0": mnsim,
        "Jia20-SRAM-CIM": macro,
        "Wang22-C2C-CIM": macro,
        "Colonnade-DCIM": macro,
        "PUMA": _refused("an entry of its component table, which has the same crossbar as ISAAC's device file: an input"),
        "FORMS": _refused("an entry of its component table: an input of a device of its own"),
        "PRIME": _RATIO,
        "PipeLayer": _RATIO,
        "Newton": _refused("a saving over ISAAC by adaptive converters and another multiplication algorithm, which the model lacks"),
        "Fully integrated analog ReRAM CIM chip": _TITLE,
        "22nm 2Mb ReRAM CIM macro": _TITLE,
        "22nm 4Mb 8b ReRAM CIM macro": _TITLE,
        "8Mb ReRAM time-space-readout macro": _TITLE,
        "4MB SLC-MLC ReRAM AI-edge processor": _TITLE,
        "CHIMERA 2MB RRAM SoC": _refused("a digital systolic chip that only stores its weights in RRAM"),
        "NeuroSim-7nm-SRAM-VGG8": _refused("SRAM cells in a 7 nm technology card, of which two runs of the simulator disagree threefold"),
        "Sinangil21-SRAM-CIM": _refused("its energy follows the mean output code of the data, which the model does not see"),
    }
)
