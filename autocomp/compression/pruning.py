"""Fine-grained pruning: single weights become zero and stay zero (Han 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import Choices, Configuration
from autocomp.compression.base import removed_count
from autocomp.compression.layers import owners, weight_layers
from hwmodels import Pattern, Workload

INDEX_BITS = 4  # relative index of Deep Compression and EIE (Han 2016): zeros skipped since the last non-zero


class Mask(nn.Module):
    """A weight parametrization that holds removed weights at zero."""

    mask: Tensor
    pattern = Pattern.FINE
    index_bits = INDEX_BITS

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    @property
    def weight_density(self) -> float:
        """Fraction of weights that are kept."""
        return int(self.mask.count_nonzero()) / self.mask.numel()

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the removed entries zeroed."""
        return weight * self.mask


@dataclass(frozen=True)
class FinePruning:
    """Removes the weights of a layer that are smallest in magnitude; of a factorized layer, of each factor."""

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Every layer."""
        return {("pattern", "fine"): np.ones(len(workload.names), bool)}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """A lower weight density, and index bits beside each non-zero."""
        layer = owners(workload, choices.layers)
        is_fine = choices.uses("pattern", "fine")[:, layer]
        total = np.maximum(workload.weights, 1)
        kept = total - removed_count(choices.sparsity[:, layer], total)
        return workload.replace(
            weight_density=np.where(is_fine, kept / total, workload.weight_density),
            pattern=np.where(is_fine, Pattern.FINE, workload.pattern),
            index_bits=np.where(is_fine, INDEX_BITS, workload.index_bits),
        )

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Put a mask on each pruned layer."""
        for name, choice in configuration.items():
            if choice.pattern == "fine":
                for layer in weight_layers(model, name):
                    parametrize.register_parametrization(layer, "weight", Mask(_magnitude_mask(layer.weight, choice.sparsity)))
        return model


def _magnitude_mask(weight: Tensor, sparsity: float) -> Tensor:
    removed = int(removed_count(np.array(sparsity), np.array(weight.numel())))
    order = torch.argsort(weight.detach().abs().flatten(), stable=True)
    mask = torch.ones(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[order[:removed]] = False
    return mask.reshape(weight.shape)
