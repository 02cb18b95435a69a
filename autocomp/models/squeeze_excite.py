"""Squeeze and excitation (Hu et al., CVPR 2018, section 3): channels are scaled by what all of them say together."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class SqueezeExcite(nn.Module):
    """The mean of each channel, two small layers, and a factor between 0 and 1 for each channel.

    Args:
        channels: in and out.
        reduction: how many times fewer there are between the two layers.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.squeeze, self.excite = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The feature maps, scaled."""
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))))


def scaling(channels: int, reduction: int) -> nn.Module:
    """Squeeze and excitation, or nothing where ``reduction`` is 0."""
    return SqueezeExcite(channels, reduction) if reduction else nn.Identity()
