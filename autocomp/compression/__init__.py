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
from autocomp.compression.base import Calibration, DataDriven, Method
from autocomp.compression.block_convolution import BlockConvolution
from autocomp.compression.calibration import calibrate, reestimate_batch_norm
from autocomp.compression.codebook import Codebooks
from autocomp.compression.factorization import Factorization, FactorizationSettings
from autocomp.compression.pruning import PruningSettings, WeightPruning, check_patterns
from autocomp.compression.quantization import Quantization
from autocomp.compression.structure import FilterPruning

__all__ = [
    "BlockConvolution",
    "Calibration",
    "Codebooks",
    "Factorization",
    "FactorizationSettings",
    "FilterPruning",
    "Method",
    "PruningSettings",
    "Quantization",
    "WeightPruning",
    "calibrate",
    "compress",
    "default_methods",
    "reestimate_batch_norm",
]


def default_methods(
    channels: ChannelMap | None,
    pruning: PruningSettings | None = None,
    blocks: BlockConvolution | None = None,
    factorization: FactorizationSettings | None = None,
) -> tuple[Method, ...]:
    """Every method that can be used, in order; without a channel map the network keeps its channels, without blocks its maps whole."""
    pruning = pruning or PruningSettings()
    structure: tuple[Method, ...] = (FilterPruning(channels, pruning.filters),) if channels else ()
    cut: tuple[Method, ...] = (blocks,) if blocks else ()
    factorize = Factorization((factorization or FactorizationSettings()).responses)
    return (*structure, factorize, *cut, WeightPruning(pruning.weights, pruning.dynamics), Quantization(), Codebooks())


def compress(
    network: nn.Module, configuration: Configuration, methods: Sequence[Method], calibration: Calibration | None = None
) -> nn.Module:
    """A compressed copy of a network, not yet calibrated.

    Args:
        network: in evaluation mode; never changed.
        configuration: what to do.
        methods: in order.
        calibration: images for those methods that choose by data.

    Raises:
        ConfigError: if a layer cannot take its choice, or a method needs images that are not there.
    """
    check_patterns(network, configuration)
    compressed = copy.deepcopy(network)
    for method in methods:
        able = method.given(calibration) if calibration is not None and isinstance(method, DataDriven) else method
        compressed = able.apply(compressed, configuration)
    return compressed
