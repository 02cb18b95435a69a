"""Low-bit gradients in fine-tuning (DoReFa-Net, Zhou 2016, section 2.5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST
from autocomp.errors import ConfigError
from autocomp.tracing import LAYERS

GRADIENT_BITS = range(1, 17)


def quantize_gradient(gradient: Tensor, bits: int, generator: torch.Generator | None = None) -> Tensor:
    """A gradient on ``2^b`` levels, rounded at random so that its mean stays what it was.

    ``2 m (quantize_b(g / (2 m) + 1/2 + N) - 1/2)`` with ``m = max |g|`` of each image and ``N`` even in
    ``+-1/2 / (2^b - 1)`` (Zhou 2016, section 2.5).

    Args:
        gradient: ``n x ..``, one row per image.
        bits: 1 to 16.
        generator: draws the noise; torch's own where it is None.

    Raises:
        ConfigError: if the bits are out of range.
    """
    if bits not in GRADIENT_BITS:
        raise ConfigError(f"Gradients must have {GRADIENT_BITS[0]} to {GRADIENT_BITS[-1]} bits, but are asked to have {bits}.")
    high = 2**bits - 1
    rows = gradient.flatten(1) if gradient.ndim > 1 else gradient[:, None]
    largest = rows.abs().amax(1, keepdim=True).clamp(min=LEAST)
    noise = torch.rand(rows.shape, generator=generator, dtype=rows.dtype, device=rows.device)
    # the noise of +-1/2 and rounding to the nearest are rounding down after noise in [0, 1)
    levels = (rows / (2 * largest)).add_(0.5).mul_(high).add_(noise).floor_().clamp_(0, high)
    quantized = levels.div_(high).sub_(0.5).mul_(2 * largest)
    # an image without any gradient keeps none; it has no level at zero
    return torch.where(rows.abs().amax(1, keepdim=True) > 0, quantized, 0).reshape(gradient.shape)


class _QuantizedGradient(torch.autograd.Function):
    """Passes values on, and a quantized gradient back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bits: int, generator: torch.Generator | None) -> Tensor:
        ctx.bits, ctx.generator = bits, generator
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return quantize_gradient(gradients[0], ctx.bits, ctx.generator), None, None


@contextmanager
def low_bit_gradients(network: nn.Module, bits: int | None, generator: torch.Generator | None = None) -> Iterator[None]:
    """Quantize, while it is open, the gradient that comes into each convolution and linear layer from behind.

    From it a layer computes the gradient of its weights and the one that it passes on, so that both products have few bits.

    Args:
        network: any network; left without a trace.
        bits: of a gradient, 1 to 16; None changes nothing.
        generator: draws the noise; torch's own where it is None.

    Raises:
        ConfigError: if the bits are out of range.
    """
    if bits is None:
        yield
        return
    if bits not in GRADIENT_BITS:
        raise ConfigError(f"Gradients must have {GRADIENT_BITS[0]} to {GRADIENT_BITS[-1]} bits, but are asked to have {bits}.")

    def pass_on(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        passed: Tensor = _QuantizedGradient.apply(output, bits, generator)  # type: ignore[no-untyped-call]
        return passed

    hooks = [layer.register_forward_hook(pass_on) for layer in network.modules() if isinstance(layer, LAYERS)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
