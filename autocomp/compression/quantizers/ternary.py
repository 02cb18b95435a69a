"""Ternary weights: a positive level, a negative one, and zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST, mean_magnitude, straight_through

_THRESHOLD = 0.7  # of the mean magnitude; Li 2016, section 2.2: near the optimum for normal and uniform weights
_TRAINED_THRESHOLD = 0.05  # of the largest magnitude; Zhu 2016, the factor of its CIFAR-10 experiments


class TernaryWeight(nn.Module):
    """``{-alpha, 0, alpha}`` per filter (TWN, Li 2016).

    Weights up to ``delta = 0.7 mean |w|`` become zero; ``alpha`` is the mean magnitude of the others, which is the scale with
    the least squared error (sections 2.1 and 2.2). Pruned weights stay zero and do not count in the mean.
    """

    weight_bits = 2

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on three levels."""
        with torch.no_grad():
            kept = weight.abs() > _THRESHOLD * mean_magnitude(weight, weight != 0)
            quantized = weight.sign() * kept * mean_magnitude(weight, kept)
        return straight_through(weight, quantized)


class _Trained(torch.autograd.Function):
    """``{-negative, 0, positive}`` with the gradients of TTQ (Zhu 2016, section 3.1).

    A level gets the sum of the gradients of its weights, with its sign; a full-precision weight gets its own gradient times
    its level, and once where it is zero.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, positive: Tensor, negative: Tensor, threshold: Tensor) -> Tensor:
        above, below = weight > threshold, weight < -threshold
        ctx.save_for_backward(above, below, positive, negative)
        return above * positive - below * negative

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        above, below, positive, negative = ctx.saved_tensors
        scale = above * positive + below * negative + ~(above | below)
        return gradient * scale, (gradient * above).sum(), -(gradient * below).sum(), None


class TrainedTernaryWeight(nn.Module):
    """Two learned levels per layer, a positive one and a negative one (TTQ, Zhu 2016).

    Weights up to 0.05 of the largest magnitude become zero. The levels begin at the mean magnitude of the weights
    that take them; their logarithms are the parameters, which keeps them positive.
    """

    weight_bits = 2

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        with torch.no_grad():
            threshold = _TRAINED_THRESHOLD * weight.abs().max()
            start = [(side * (side > threshold)).sum() / (side > threshold).sum().clamp(min=1) for side in (weight, -weight)]
            levels = torch.stack(start).clamp(min=LEAST).log()
        self.log_levels = nn.Parameter(levels)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on three levels."""
        positive, negative = self.log_levels.exp()
        threshold = _TRAINED_THRESHOLD * weight.detach().abs().max()
        quantized: Tensor = _Trained.apply(weight, positive, negative, threshold)  # type: ignore[no-untyped-call]
        return quantized
