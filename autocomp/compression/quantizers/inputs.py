"""What quantizers of activations have in common, and the uniform one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import best_step, on_grid

_SAMPLE = 1 << 16
"""Activations that a scale is fitted on."""


class InputQuantizer(nn.Module):
    """Quantizes what goes into a layer.

    A scale is fitted to the first batch that is seen while `observe` is on. Until then values pass unchanged.

    Attributes:
        bits: of one value.
        observe: whether the next batch is to be fitted.
        is_on: whether values are quantized.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.observe = False
        self.is_on = False

    def forward(self, x: Tensor) -> Tensor:
        """The quantized activations."""
        if self.observe:
            self.fit(x.detach())
            self.observe, self.is_on = False, True
        return self.quantize(x) if self.is_on else x

    def fit(self, x: Tensor) -> None:
        """Fit the scale to a batch of activations."""

    def quantize(self, x: Tensor) -> Tensor:
        """The activations on the levels."""
        raise NotImplementedError

    def get_extra_state(self) -> Tensor:
        """Whether it is in use, so that a state dictionary holds the whole quantizer."""
        return torch.tensor([self.is_on])

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.is_on = bool(state)


class UniformInput(InputQuantizer):
    """Evenly spaced levels with one learned step: unsigned after a ReLU, symmetric where negative values come in."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.log_step = nn.Parameter(torch.zeros(()))
        self.low, self.high = 0, 2**bits - 1

    def fit(self, x: Tensor) -> None:
        """Choose the range by the sign of the values, and the step with the least squared error."""
        signed = bool(x.amin() < 0)  # seven times as fast as `min`
        self.high = 2 ** (self.bits - 1) - 1 if signed else 2**self.bits - 1
        self.low = -self.high if signed else 0
        flat = x.flatten()
        if len(flat) > _SAMPLE:  # drawn, because even steps would meet the same pixels of every row
            flat = flat[torch.randint(len(flat), (_SAMPLE,), generator=torch.Generator().manual_seed(0))]
        self.log_step.data.copy_(best_step(flat[None], self.low, self.high)[0].log())

    def quantize(self, x: Tensor) -> Tensor:
        """The activations on their grid."""
        return on_grid(x, self.log_step.exp(), self.low, self.high)

    def get_extra_state(self) -> Tensor:
        """The grid and whether it is in use."""
        return torch.tensor([self.low, self.high, self.is_on])

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.low, self.high, is_on = state.tolist()
        self.is_on = bool(is_on)
