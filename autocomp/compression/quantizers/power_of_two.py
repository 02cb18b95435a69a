"""Weights that are zero or a power of two, so that a multiplication is a shift."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST, straight_through

PORTIONS = (0.5, 0.75, 0.875, 1.0)  # of the weights, quantized for good after each step; Zhou 2017, section 3.1


class PowerOfTwoWeight(nn.Module):
    """``{0, +-2^n2 .. +-2^n1}``, quantized in portions while the others are trained (INQ, Zhou 2017, section 2).

    ``n1 = floor(log2(4 s / 3))`` with the largest magnitude ``s`` of the layer and ``n2 = n1 + 1 - 2^(b-1) / 2``:
    one bit says zero, the others which power. ``|w|`` in ``[3/4 2^k, 3/2 2^k)`` becomes ``2^k``, anything below
    half the smallest power zero.

    In training, the largest `PORTIONS` are quantized and fixed for good, and the others stay as they are to make up for it;
    `advance` moves on to the next portion. In evaluation everything is quantized.
    """

    fixed: Tensor
    values: Tensor

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.weight_bits = bits
        self.highest = math.floor(math.log2(4 * max(float(weight.detach().abs().max()), LEAST) / 3))
        self.lowest = self.highest + 1 - 2 ** (bits - 1) // 2
        self.asked, self.reached = 1, 0  # portions, counted from one
        self.register_buffer("fixed", torch.zeros_like(weight, dtype=torch.bool))
        self.register_buffer("values", torch.zeros_like(weight.detach()))

    def advance(self, progress: float) -> None:
        """Say how much of the training is over, in [0, 1]; each portion gets the same share of it."""
        self.asked = max(self.asked, min(int(progress * len(PORTIONS)) + 1, len(PORTIONS)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its powers; in training that of the fixed weights alone, and only the others have a gradient."""
        if not self.training:
            return straight_through(weight, torch.where(self.fixed, self.values, self._powers(weight.detach())))
        if self.reached < self.asked:
            self._fix(weight.detach(), PORTIONS[self.asked - 1])
            self.reached = self.asked
        return torch.where(self.fixed, self.values, weight)

    def _powers(self, weight: Tensor) -> Tensor:
        magnitude = weight.abs()
        # the clamp to the smallest power keeps the logarithm finite; what is too small even for it becomes zero
        exponent = (magnitude.clamp(min=2.0**self.lowest) * (4 / 3)).log2().floor().clamp(self.lowest, self.highest)
        return torch.where(magnitude < 2.0**self.lowest / 2, torch.zeros_like(weight), weight.sign() * exponent.exp2())

    def _fix(self, weight: Tensor, portion: float) -> None:
        """Fix the largest of the weights that are still free, until the portion is reached."""
        missing = int(portion * weight.numel()) - int(self.fixed.sum())
        free = weight.abs().masked_fill(self.fixed, -1).flatten()
        chosen = torch.zeros_like(self.fixed).flatten()
        chosen[free.argsort(descending=True, stable=True)[: max(missing, 0)]] = True
        chosen = chosen.reshape(weight.shape)
        self.values = torch.where(chosen, self._powers(weight), self.values)
        self.fixed = self.fixed | chosen

    def get_extra_state(self) -> Tensor:
        """The range of powers and how far the schedule is, so that a state dictionary holds the whole quantizer."""
        return torch.tensor([self.lowest, self.highest, self.asked, self.reached])

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.lowest, self.highest, self.asked, self.reached = state.tolist()


class LogWeight(nn.Module):
    """The logarithm to base two, rounded (Miyashita 2016, section 3).

    ``2^clip(round(log2 |w|), fsr - 2^(b-1), fsr)``, where one bit is the sign, the highest exponent is ``fsr - 1`` and
    everything that is rounded to ``fsr - 2^(b-1)`` or below is zero. The full-scale range ``fsr`` is the one with the least
    squared error for the layer when it is compressed: that of the largest weight, or one or two octaves below. Unlike
    `PowerOfTwoWeight`, the border between two powers is their geometric mean.
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.weight_bits = bits
        weight = weight.detach()
        highest = round(math.log2(max(float(weight.abs().max()), LEAST))) + 1
        errors = {full: float((self._powers(weight, full) - weight).square().sum()) for full in (highest, highest - 1, highest - 2)}
        self.full_scale = min(errors, key=errors.__getitem__)

    def _powers(self, weight: Tensor, full_scale: int) -> Tensor:
        least = full_scale - 2 ** (self.weight_bits - 1)
        exponent = weight.abs().clamp(min=2.0**least).log2().round().clamp(max=full_scale - 1)
        return torch.where(exponent > least, weight.sign() * exponent.exp2(), torch.zeros_like(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its powers."""
        return straight_through(weight, self._powers(weight.detach(), self.full_scale))

    def get_extra_state(self) -> Tensor:
        """The full-scale range, so that a state dictionary holds the whole quantizer."""
        return torch.tensor([self.full_scale])

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.full_scale = int(state)
