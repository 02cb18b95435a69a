"""Uniform weights with a learned step.

The logarithm of the step is the parameter (TQT, Jain 2020): training moves it by a share of itself, whatever its size.
"""

from __future__ import annotations

from torch import Tensor, nn

from autocomp.compression.quantizers.grid import best_step, on_grid


class UniformWeight(nn.Module):
    """A weight parametrization: symmetric, one step per filter or one for all, integers from -(2^(b-1) - 1) to 2^(b-1) - 1."""

    def __init__(self, weight: Tensor, bits: int, *, per_filter: bool = True) -> None:
        super().__init__()
        self.weight_bits = bits
        self.high = 2 ** (bits - 1) - 1
        rows = weight.detach().flatten(1) if per_filter else weight.detach().reshape(1, -1)
        steps = best_step(rows, -self.high, self.high)
        self.log_step = nn.Parameter(steps.log().reshape(-1, *[1] * (weight.ndim - 1)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its grid."""
        return on_grid(weight, self.log_step.exp(), -self.high, self.high)
