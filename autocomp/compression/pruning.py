"""Weight pruning: weights become zero and stay zero, single ones or in a pattern (Han 2015, Mao 2017); shapes stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from autocomp.choice import Choices, Configuration
from autocomp.compression.base import Calibration
from autocomp.compression.filters import FILTER_CRITERIA
from autocomp.compression.importance import MAGNITUDES, WEIGHT_CRITERIA, importances
from autocomp.compression.layers import owners, weight_layers
from autocomp.compression.masks import DYNAMICS, put_mask
from autocomp.compression.patterns import WEIGHT_PATTERNS, check_pattern, dims_of
from autocomp.errors import ConfigError, UnknownNameError
from hwmodels import Workload


@dataclass(frozen=True)
class PruningSettings:
    """How what is pruned is chosen; how much, and in which pattern, is decided layer by layer.

    Attributes:
        weights: what a weight is worth, one of `WEIGHT_CRITERIA`.
        filters: what a filter is worth, one of `FILTER_CRITERIA`.
        dynamics: what masks do during fine-tuning, one of `DYNAMICS`.

    Raises:
        UnknownNameError: on an unknown name.
        ConfigError: if masks that change are chosen by images.
    """

    weights: str = "l1"
    filters: str = "l1"
    dynamics: str = "static"

    def __post_init__(self) -> None:
        for key, known in (("weights", WEIGHT_CRITERIA), ("filters", FILTER_CRITERIA), ("dynamics", tuple(DYNAMICS))):
            if getattr(self, key) not in known:
                raise UnknownNameError(f"`pruning.{key}`", getattr(self, key), known)
        if self.dynamics != "static" and self.weights not in MAGNITUDES:
            raise ConfigError(
                f"Masks that change rank weights as they are then: `pruning.dynamics` '{self.dynamics}' needs `pruning.weights` "
                f"{' or '.join(MAGNITUDES)}, but has {self.weights}."
            )


@dataclass(frozen=True)
class WeightPruning:
    """Removes the weights of a layer that are worth least, in the pattern that is asked for; of a factorized layer, of each factor.

    Attributes:
        importance: one of `WEIGHT_CRITERIA`.
        dynamics: one of `DYNAMICS`.
        calibration: images for the criteria that need them.
    """

    importance: str = "l1"
    dynamics: str = "static"
    calibration: Calibration | None = None

    def given(self, calibration: Calibration) -> WeightPruning:
        """The same with images at hand."""
        return replace(self, calibration=calibration)

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Layers whose weights a pattern divides into more than one unit of more than one weight; all for single weights."""
        dims = dims_of(workload)
        return {("pattern", name): pattern.fits(dims) for name, pattern in WEIGHT_PATTERNS.items()}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """A lower weight density, and index bits beside each non-zero."""
        layer, dims = owners(workload, choices.layers), dims_of(workload)
        sparsity, total = choices.sparsity[:, layer], np.maximum(workload.weights, 1)
        density, code, index_bits = workload.weight_density, workload.pattern, workload.index_bits
        for name, pattern in WEIGHT_PATTERNS.items():
            used = choices.uses("pattern", name)[:, layer]
            if used.any():
                density = np.where(used, pattern.kept(dims, sparsity) / total, density)
                code = np.where(used, pattern.code(dims), code)
                index_bits = np.where(used, pattern.index_bits(dims), index_bits)
        return workload.replace(weight_density=density, pattern=code, index_bits=index_bits)

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Put a mask on each pruned layer."""
        chosen = [
            (layer, choice)
            for name, choice in configuration.items()
            if choice.pattern in WEIGHT_PATTERNS
            for layer in weight_layers(model, name)
        ]
        if chosen:  # images are looked at only if something is pruned
            values = importances(model, [layer for layer, _ in chosen], self.importance, self.calibration)
            for (layer, choice), value in zip(chosen, values, strict=True):
                put_mask(layer, choice, value, dynamics=self.dynamics, worth=MAGNITUDES.get(self.importance))
        return model


def check_patterns(network: nn.Module, configuration: Configuration) -> None:
    """Refuse a pattern that a layer of the teacher cannot have, before anything is changed.

    Raises:
        ConfigError: naming the layer, the pattern and what it can have.
    """
    for name, choice in configuration.items():
        if choice.pattern in WEIGHT_PATTERNS:
            for layer in weight_layers(network, name):
                check_pattern(name, layer, choice.pattern)
