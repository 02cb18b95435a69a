"""Compression methods and the order in which they are applied.

Channels go first, then what is left is factorized (so that a rank never exceeds what pruning left), single weights go,
and numbers are rounded last.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import nn

from autocomp.channels import ChannelMap
from autocomp.choice import Configuration
from autocomp.compression.base import Method
from autocomp.compression.calibration import calibrate, reestimate_batch_norm
from autocomp.compression.factorization import Factorization
from autocomp.compression.pruning import FinePruning
from autocomp.compression.quantization import Quantization
from autocomp.compression.structure import FilterPruning

__all__ = [
    "Factorization",
    "FilterPruning",
    "FinePruning",
    "Method",
    "Quantization",
    "calibrate",
    "compress",
    "default_methods",
    "reestimate_batch_norm",
]


def default_methods(channels: ChannelMap | None) -> tuple[Method, ...]:
    """Every method that can be used, in order; without a channel map the network keeps its channels."""
    structure: tuple[Method, ...] = (FilterPruning(channels),) if channels else ()
    return (*structure, Factorization(), FinePruning(), Quantization())


def compress(network: nn.Module, configuration: Configuration, methods: Sequence[Method]) -> nn.Module:
    """A compressed copy of a network, not yet calibrated."""
    compressed = copy.deepcopy(network)
    for method in methods:
        compressed = method.apply(compressed, configuration)
    return compressed
