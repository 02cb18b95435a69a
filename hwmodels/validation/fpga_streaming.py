"""Published rows of FPGA designs whose layers have engines of their own (FINN) or that multiply sparse matrices (ESE)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from hwmodels.cost import HardwareModel
from hwmodels.devices import load_device
from hwmodels.networks import load_network
from hwmodels.validation.metrics import figure, quantity_of
from hwmodels.validation.rows import CannotExpress, PublishedRow, Recipe
from hwmodels.workload import Pattern, Workload

_STREAM: Final = 1_000_000  # images after which filling the pipeline no longer counts

# FINN's networks by what rows call them; an MNIST row that names none of the two is about the small one.
_FINN_NETWORKS: Final = (("CNV", "finn_cnv"), ("CIFAR", "finn_cnv"), ("SFC", "finn_sfc"), ("LFC", "finn_lfc"), ("MNIST", "finn_sfc"))
_FINN_BOARDS: Final = (("ZC706", "finn_zc706"), ("7Z045", "finn_zc706"), ("ULTRA96", "finn_ultra96"), ("ZU3EG", "finn_ultra96"))
_WIDTHS: Final = re.compile(r"w(\d+)a(\d+)", re.IGNORECASE)

# Density of ESE's weights: its two throughputs, 282 of 2520 GOP/s; its table of matrices says 11.2 % (recalled).
_ESE_DENSITY: Final = 0.112
_ESE_CHANNELS: Final = 32
_ESE_BITS: Final = (12, 16)


def _device(name: str, row: PublishedRow) -> HardwareModel:
    return load_device(name, {} if row.clock_mhz is None else {"clock_mhz": row.clock_mhz})


def _named(text: str, options: tuple[tuple[str, str], ...], what: str) -> str:
    for word, name in options:
        if word in text.upper():
            return name
    raise CannotExpress(f"{what} '{text}' is none that is modelled")


def _widths(row: PublishedRow, default: tuple[int, int]) -> tuple[int, int]:
    """Bits of weights and activations."""
    found = _WIDTHS.search(row.precision_bits)
    return (int(found[1]), int(found[2])) if found else default


def _finn(row: PublishedRow) -> float:
    """The folding is the model's own: nothing but the chip and the network goes in."""
    if "upper bound" in row.metric:
        raise CannotExpress("an upper bound over all designs is no measurement")
    if row.metric == "power":
        raise CannotExpress("power of the whole board at its plug; the model prices chip and DRAM")
    network = load_network(_named(f"{row.network} {row.layer}", _FINN_NETWORKS, "network"))
    weights, activations = _widths(row, (1, 1))
    narrow = np.where(network.activation_bits == 8, 8, activations)  # the 8-bit pixels that enter CNV keep their width
    workload = network.replace(weight_bits=np.full((), weights), activation_bits=narrow)
    model = _device(_named(row.device_tech, _FINN_BOARDS, "board"), row)
    streamed = quantity_of(row.unit) != "latency"
    workload = workload.replace(batch=np.full((), row.batch or (_STREAM if streamed else 1)))
    return figure(model.estimate(workload), workload, row.metric, row.unit)


def _ese(row: PublishedRow) -> float:
    """One time step of as many voices as there are channels, matrices pruned with balanced load."""
    if not re.search(r"throughput|latency", row.metric):
        raise CannotExpress(_ESE_REASONS.get(row.unit, "a comparison with a processor that is not modelled"))
    weights, activations = _widths(row, _ESE_BITS)
    workload = _ese_workload(row.batch or _ESE_CHANNELS, weights, activations)
    value = figure(_device("ese_ku060", row).estimate(workload), workload, row.metric.split()[-1], row.unit)
    return value * _ESE_DENSITY if row.metric.startswith("sparse") else value


_ESE_REASONS: Final[Mapping[str, str]] = {"W": "power of the whole board with its host link; the model prices chip and DRAM"}


def _ese_workload(batch: int, weight_bits: int, activation_bits: int) -> Workload:
    facts = {"weight_bits": weight_bits, "activation_bits": activation_bits, "pattern": int(Pattern.GROUP), "batch": batch}
    whole = {name: np.full((), value) for name, value in facts.items()}
    return load_network("google_lstm").replace(**whole, weight_density=np.full((), _ESE_DENSITY))


def _refuse(reason: str) -> Callable[[PublishedRow], float]:
    def recipe(row: PublishedRow) -> float:
        raise CannotExpress(reason)

    return recipe


RECIPES: Final[dict[str, Recipe]] = {
    "FINN": _finn,
    "ESE": _ese,
    "Intel-INT8x2": _refuse("the peak of a design whose array and clock the source does not give"),
    "LegUp-CNN": _refuse("the best layer of a pruned network whose densities the source does not give"),
    "MixedPrec-CNN-FPGA": _refuse("neither the chip nor the widths of the layers are given"),
}
