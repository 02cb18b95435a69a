"""One-bit activations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST
from autocomp.compression.quantizers.inputs import InputQuantizer


class _Sign(torch.autograd.Function):
    """``scale sign(x)`` with the gradient of the hard hyperbolic tangent ``clip(x, -scale, scale)`` (Hubara 2016)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        signs = x.sign().sub_(0.5).sign_()  # zero becomes -1; several times as fast as a selection
        ctx.save_for_backward(x, scale, signs)
        return signs * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, scale, signs = ctx.saved_tensors
        inside = torch.ops.aten.hardtanh_backward(gradient, x, -float(scale), float(scale))
        return inside, torch.dot(gradient.flatten(), signs.flatten())


def signs_of(x: Tensor, scale: Tensor) -> Tensor:
    """``scale sign(x)``, zero counting as negative, with the gradient of the hard hyperbolic tangent."""
    signs: Tensor = _Sign.apply(x, scale)  # type: ignore[no-untyped-call]
    return signs


class SignInput(InputQuantizer):
    """``beta sign(x)`` with one ``beta`` for the layer: BNN (Hubara 2016) with the scale of XNOR-Net (Rastegari 2016).

    ``beta = mean |x|`` is the scale with the least squared error (Rastegari 2016, section 3.2, for the whole input; `XnorInput` has
    the paper's matrix K of one scale per position). It is fitted to the first batch and learned from there on.

    Zero counts as negative. So the sign of what comes out of a ReLU is the sign of what went in, which is what both papers
    take, and a network need not be built anew with the sign in place of its activation functions.
    """

    def __init__(self, bits: int = 1) -> None:
        super().__init__(bits)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def fit(self, x: Tensor) -> None:
        """The scale with the least squared error."""
        self.log_scale.data.copy_(x.abs().mean().clamp(min=LEAST).log())

    def quantize(self, x: Tensor) -> Tensor:
        """The activations on two levels."""
        return signs_of(x, self.log_scale.exp())
