"""Rounding with straight-through gradients, and the step of a grid that fits some values best."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the largest magnitude that are tried as clipping points."""

LEAST = 1e-20
"""Taken as the magnitude where all values are zero, so that a scale is never zero."""


class _Grid(torch.autograd.Function):
    """``x`` on the grid ``step * {low .. high}``.

    Written out because it works in place and keeps nothing but its input: on a processor half the time of automatic
    differentiation, and a tenth without gradients. The rounding's gradient passes straight through (Bengio 2013), so that
    d out / d x is 1 inside the range and 0 outside; d out / d step is ``round(x/step) - x/step`` inside and the end of the
    range outside (LSQ, Esser 2020, equation 3).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        ctx.save_for_backward(x, step)
        ctx.range = low, high
        return (x / step).clamp_(low, high).round_().mul_(step)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, step = ctx.saved_tensors
        scaled = x / step
        clamped = scaled.clamp(*ctx.range)
        through = torch.where(clamped == scaled, gradient, 0)
        if not ctx.needs_input_grad[1]:
            return through, None, None, None
        for_step = clamped.round_().mul_(gradient).sub_(scaled.mul_(through))
        return through, for_step.sum_to_size(step.shape), None, None


def on_grid(x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
    """The nearest values of ``step * {low .. high}``; gradients go to ``x`` and ``step``."""
    rounded: Tensor = _Grid.apply(x, step, low, high)  # type: ignore[no-untyped-call]
    return rounded


class _StraightThrough(torch.autograd.Function):
    """The second argument, with the first one's gradient; ``w + (q - w).detach()`` would round the levels."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, quantized: Tensor) -> Tensor:
        return quantized.view_as(quantized)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return gradients[0], None


def straight_through(weight: Tensor, quantized: Tensor) -> Tensor:
    """The quantized weight; the whole gradient passes on to the full-precision one (BinaryConnect, Courbariaux 2015)."""
    result: Tensor = _StraightThrough.apply(weight, quantized.detach())  # type: ignore[no-untyped-call]
    return result


def best_step(x: Tensor, low: int, high: int) -> Tensor:
    """The step of each row of ``n x e`` with the least squared error among clipping points, ``n``."""
    steps = torch.outer(torch.tensor(_CLIPS, device=x.device), x.abs().amax(1).clamp(min=LEAST) / high)
    errors = [((x / s).round_().clamp_(low, high).mul_(s) - x).square_().sum(1) for s in steps[:, :, None]]
    return steps.gather(0, torch.stack(errors).argmin(0, keepdim=True))[0]


def mean_magnitude(weight: Tensor, among: Tensor) -> Tensor:
    """The mean of ``|w|`` over the chosen weights of each filter, ``n x 1 x ..``; 0 where none is chosen."""
    total = (weight.abs() * among).flatten(1).sum(1)
    scale = total / among.flatten(1).sum(1).clamp(min=1)
    return scale.reshape(-1, *[1] * (weight.ndim - 1))
