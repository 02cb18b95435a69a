"""Half-wave Gaussian quantization: the best evenly spaced levels for the positive half of a normal distribution."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import ndtr
from torch import Tensor

from autocomp.compression.quantizers.grid import LEAST
from autocomp.compression.quantizers.inputs import InputQuantizer


def expected_error(step: float, levels: int) -> float:
    """Mean squared error of a standard normal ``x > 0`` on ``step * {1 .. levels}``, each rounded to the nearest.

    Between two borders ``a`` and ``b``, with density ``p`` and distribution ``P``, the integral of ``(x - q)^2 p(x)`` is
    ``(1 + q^2) (P(b) - P(a)) - (b - 2 q) p(b) + (a - 2 q) p(a)``. The positive half has probability 1/2.
    """
    q = step * np.arange(1, levels + 1)
    borders = np.concatenate([[0.0], q[:-1] + step / 2, [40.0]])  # beyond 40 deviations there is nothing
    a, b = borders[:-1], borders[1:]
    density = np.exp(-(borders**2) / 2) / math.sqrt(2 * math.pi)
    parts = (1 + q**2) * (ndtr(b) - ndtr(a)) - (b - 2 * q) * density[1:] + (a - 2 * q) * density[:-1]
    return 2 * float(parts.sum())


@cache
def best_half_wave_step(bits: int) -> float:
    """The step with the least `expected_error` for ``2^bits - 1`` positive levels (HWGQ, Cai 2017)."""
    levels = 2**bits - 1
    # a single level lies at 0.8 deviations, and the highest of many lies below 8
    found = minimize_scalar(expected_error, args=(levels,), bounds=(1 / levels / 8, 8 / levels), method="bounded", options={"xatol": 1e-9})
    return float(found.x)


class _HalfWave(torch.autograd.Function):
    """``step * {1 .. high}`` for positive values, 0 for the others; the gradient of the clipped ReLU (Cai 2017)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, high: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.high = high
        is_positive = x.sign().clamp_(min=0)  # as a number: several times as fast as a selection
        return (x / step).round_().clamp_(1, high).mul_(step).mul_(is_positive)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, step = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], x, 0.0, float(step * ctx.high)), None, None


class HalfWaveInput(InputQuantizer):
    """Zero up to zero, and ``2^b - 1`` evenly spaced positive levels that are optimal for a normal distribution (HWGQ, Cai 2017).

    The paper's activations are outputs of batch norm with variance 1. Here the deviation is measured on the first batch as
    the root of the mean square of the positive values, and the levels are scaled by it. Nothing is learned.
    """

    step: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.register_buffer("step", torch.ones(()))

    def fit(self, x: Tensor) -> None:
        """Measure the deviation of the half wave."""
        positive = x.clamp(min=0)
        deviation = (positive.square().sum() / (x > 0).sum().clamp(min=1)).sqrt().clamp(min=LEAST)
        self.step.copy_(deviation * best_half_wave_step(self.bits))

    def quantize(self, x: Tensor) -> Tensor:
        """The activations on their levels."""
        levels: Tensor = _HalfWave.apply(x, self.step, 2**self.bits - 1)  # type: ignore[no-untyped-call]
        return levels
