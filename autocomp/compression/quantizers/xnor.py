"""One-bit activations with a scale for each place: XNOR-Net (Rastegari 2016)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.compression.layers import Layer
from autocomp.compression.quantizers.inputs import InputQuantizer
from autocomp.compression.quantizers.sign import signs_of


class XnorInput(InputQuantizer):
    """``sign(x)`` for a layer whose outputs are then scaled by K, the mean magnitude of what each of them sees.

    ``I * W ~ (sign(I) * sign(W)) K a`` with ``A = mean over channels |I|`` and ``K = A * k``, ``k`` being a box filter of the kernel's
    size whose entries add up to 1 (Rastegari et al., ECCV 2016, section 3.2, equations 10 and 11). Scales are computed anew for every
    image, in floating point; a price counts neither their operations nor their bits. Zero counts as negative, as in `SignInput`.
    """

    unit: Tensor

    def __init__(self, bits: int = 1) -> None:
        super().__init__(bits)
        self.register_buffer("unit", torch.ones(()))
        self.seen: list[Tensor] = []  # the input of the pass under way, until the layer has run

    def quantize(self, x: Tensor) -> Tensor:
        """The signs; what they come from is kept until the layer's outputs are scaled."""
        self.seen[:] = [x]
        return signs_of(x, self.unit)


def scale_outputs(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: the outputs of a layer with an `XnorInput` times K, the bias left out."""
    if not layer.input_quantizer.seen:  # which lets values pass until it is calibrated
        return output
    scale = input_scales(layer, layer.input_quantizer.seen.pop())
    if layer.bias is None:
        return _scaled(output, scale)
    bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias[:, None, None]
    shifted: Tensor = _scaled(output - bias, scale) + bias
    return shifted


def _scaled(output: Tensor, scale: Tensor) -> Tensor:
    if scale.shape[1] == 1:
        return output * scale
    by_group: Tensor = output.unflatten(1, (scale.shape[1], -1))  # type: ignore[no-untyped-call]
    return (by_group * scale.unsqueeze(2)).flatten(1, 2)


def input_scales(layer: Layer, x: Tensor) -> Tensor:
    """K for the inputs of a layer, ``b x 1`` or ``b x 1 x h x w`` (of convolutions in ``g`` groups ``b x g x h x w``)."""
    if isinstance(layer, nn.Linear):
        return x.abs().mean(-1, keepdim=True)
    by_group: Tensor = x.abs().unflatten(1, (layer.groups, -1))  # type: ignore[no-untyped-call]
    return _averaged(layer, by_group.mean(2))


def _averaged(layer: nn.Conv2d, magnitudes: Tensor) -> Tensor:
    """The mean under the kernel at each place, where padding counts as the layer pads."""
    kernel, padding = tuple(layer.kernel_size), layer.padding
    fits = not isinstance(padding, str) and all(2 * p <= k for p, k in zip(padding, kernel, strict=True))
    is_plain = type(layer) is nn.Conv2d or type(layer).__name__ == "ParametrizedConv2d"
    if is_plain and fits and layer.padding_mode == "zeros" and set(layer.dilation) == {1}:  # which every export knows
        return F.avg_pool2d(magnitudes, kernel, tuple(layer.stride), tuple(padding))  # type: ignore[arg-type]
    box = magnitudes.new_full((layer.groups, 1, *kernel), 1 / (kernel[0] * kernel[1]))
    found: Tensor = layer._conv_forward(magnitudes, box, None)
    return found
