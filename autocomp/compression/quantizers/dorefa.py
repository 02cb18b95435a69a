"""Weights and activations of DoReFa-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST, on_grid
from autocomp.compression.quantizers.inputs import InputQuantizer


class DoReFaWeight(nn.Module):
    """Weights bounded by the hyperbolic tangent, on ``2^b`` evenly spaced levels without a zero (DoReFa-Net, Zhou 2016, section 2.3).

    With ``v = tanh(w) / max |tanh(w)|``: ``w_q = 2 quantize_b(v / 2 + 1/2) - 1``, and ``sign(w)`` at one bit,
    where ``quantize_b(x) = round((2^b - 1) x) / (2^b - 1)``. At one bit the paper multiplies by the layer's mean
    ``|w|``. At more it has no scale, because it trains from the start; a network that is already trained needs
    one: the least-squares scale of the first weights, learned from there on. Weights that pruning has set to zero stay zero.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.weight_bits = bits
        self.log_scale = nn.Parameter(torch.zeros(()))
        with torch.no_grad():
            levels = self._levels(weight)
            # the s that minimises |w - s q|^2; w and q agree in sign, so it is positive unless all weights are zero
            scale = (weight * levels).sum() / levels.square().sum().clamp(min=1)
            self.log_scale.copy_(scale.clamp(min=LEAST).log())

    def _levels(self, weight: Tensor) -> Tensor:
        high = 2**self.weight_bits - 1
        bounded = weight.tanh()
        bounded = bounded / bounded.detach().abs().max().clamp(min=LEAST)
        # odd integers over 2^b - 1: between two of them lies an even one
        step = torch.full((), 1 / high, dtype=weight.dtype, device=weight.device)
        levels = on_grid(bounded / 2 + 0.5, step, 0, high) * 2 - 1
        return torch.where(weight == 0, torch.zeros_like(levels), levels)

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its levels."""
        return self._levels(weight) * self.log_scale.exp()


class DoReFaInput(InputQuantizer):
    """``quantize_b(clip(x, 0, 1))`` (Zhou 2016, section 2.4): fixed levels, nothing to fit; training brings the values into the range."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.is_on = True

    def quantize(self, x: Tensor) -> Tensor:
        """The activations on ``2^b`` levels from 0 to 1."""
        high = 2**self.bits - 1
        return on_grid(x, torch.full((), 1 / high, dtype=x.dtype, device=x.device), 0, high)
