"""A network on one device: its weights as the cells hold them, its sums as the converters read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.compression.layers import Layer
from autocomp.compression.nonideal import WORD_BITS, Coded, Nonidealities, coded, draw_of
from autocomp.export import bake
from autocomp.tracing import LAYERS


@torch.no_grad()
def on_device(
    network: nn.Module, device: Nonidealities, *, draw: int, fit_adc: bool = True, remap: bool = False, seed: int = 0
) -> nn.Module:
    """A copy of a network as one device computes it.

    The sums of groups of rows and of weight slices are converted one by one, as on the device. The slices of an input are converted
    together, with the step whose rounding error has the variance of theirs, ``adc_step sqrt(sum 4**(dac_bits t))``; full scale of an
    input is its largest magnitude in a batch. Filters that a device stores inverted to halve the sums are not inverted here: they
    would matter to the clipping alone. Converters whose range is fitted span, slice by slice, the sums that a layer really has, as chips
    with tunable ranges do (Wan et al., NeuRRAM, Nature 2022, methods on calibration; dynamic fixed point in Chi et al., PRIME, ISCA
    2016); they are never finer than one level. Otherwise every layer is read at the device's full scale.

    Args:
        network: in any mode; stays as it is.
        device: what disturbs it.
        draw: which device of a population.
        fit_adc: whether the converters' range is fitted to each layer.
        remap: whether rows are placed with regard to the device's stuck cells.
        seed: of the population.

    Returns:
        A network in evaluation mode that cannot be trained.
    """
    stored = {name: coded(layer) for name, layer in network.named_modules() if isinstance(layer, LAYERS)}
    copied = bake(network)
    for name, code in stored.items():
        layer: Any = copied.get_submodule(name)
        own = device.holding(code.bits)
        planes = code.planes(own, draw_of(name, draw=draw, seed=seed), remap=remap)
        layer.weight.copy_(code.weights(planes, own).reshape(layer.weight.shape))
        if device.disturbs_sums:
            layer.register_forward_hook(_converting(code, planes, own, fit_adc), prepend=True)  # other hooks work on what was read
    return copied


def _converting(code: Coded, planes: Tensor, device: Nonidealities, fit: bool) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
    """A hook that puts sums as the converters read them in place of the exact ones."""
    beside = code.beside(device)  # is added behind the converters

    def convert(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        bits = min(layer.input_quantizer.bits if hasattr(layer, "input_quantizer") else WORD_BITS, WORD_BITS)
        unit = float(x.abs().amax().clamp(min=1e-20)) / (2**bits - 1)
        channels = -1 if isinstance(layer, nn.Linear) else 1
        sums = torch.zeros_like(output)
        for place, plane in enumerate(planes):
            starts = range(0, plane.shape[1], device.active_rows)
            parts = [_rows_product(layer, x, plane, start, start + device.active_rows) for start in starts]
            largest = max(float(part.abs().amax()) for part in parts) / unit if fit else float("inf")
            step, limit = (unit * size for size in _rounding(device, bits, largest))
            for part in parts:
                sums += 2.0 ** (place * device.cell_bits) * (part / step).round_().mul_(step).clamp_(-limit, limit)
        scaled: Tensor = sums.transpose(channels, -1).mul(code.step.flatten()).transpose(channels, -1)
        result: Tensor = scaled + _product(layer, x, beside.reshape(layer.weight.shape))
        if layer.bias is not None:
            result = result.transpose(channels, -1).add(layer.bias).transpose(channels, -1)
        return result

    return convert


def _rounding(device: Nonidealities, bits: int, largest: float) -> tuple[float, float]:
    """Step and limit for inputs of some bits, in units of one cell level times the lowest bit; a smaller range has smaller steps."""
    powers = [2.0 ** (device.dac_bits * t) for t in range(-(-bits // device.dac_bits))]
    full = device.adc_range * sum(powers)
    limit = min(full, largest)
    share = 1.0 if limit == full else limit / full
    return max(device.adc_step * share, 1.0) * sum(p**2 for p in powers) ** 0.5, limit


def _rows_product(layer: Layer, x: Tensor, plane: Tensor, start: int, stop: int) -> Tensor:
    """The sums over some rows (``k``) of a crossbar; inputs that touch none of them are left out."""
    if isinstance(layer, nn.Linear):
        return F.linear(x[..., start:stop], plane[:, start:stop])
    chosen = torch.zeros_like(plane)
    chosen[:, start:stop] = plane[:, start:stop]
    weight = chosen.reshape(layer.weight.shape)
    if layer.groups > 1:
        return _product(layer, x, weight)
    area = weight[0, 0].numel()
    channels = slice(start // area, -(-stop // area))
    return _product(layer, x[:, channels], weight[:, channels])


def _product(layer: Layer, x: Tensor, weight: Tensor) -> Tensor:
    """What the layer computes with another weight and without bias."""
    return F.linear(x, weight) if isinstance(layer, nn.Linear) else layer._conv_forward(x, weight, None)
