"""Uniform quantization of weights and activations with a learned step and straight-through gradients.

The logarithm of the step is the parameter (TQT, Jain 2020): training moves it by a share of itself, whatever its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import FLOAT_BITS, Choices, Configuration
from autocomp.compression.layers import owners, weight_layers
from hwmodels import Workload

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Shares of the largest magnitude that are tried as clipping points."""

_SAMPLE = 1 << 16
"""Activations that a step is fitted on."""

_LEAST = 1e-20
"""Taken as the largest magnitude where all values are zero, so that a step is never zero."""


class _Quantize(torch.autograd.Function):
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
        for_step = clamped.round_().mul_(gradient).sub_(scaled.mul_(through))
        return through, for_step.sum_to_size(step.shape), None, None


def _quantize(x: Tensor, log_step: Tensor, low: int, high: int) -> Tensor:
    quantized: Tensor = _Quantize.apply(x, log_step.exp(), low, high)  # type: ignore[no-untyped-call]
    return quantized


def _best_step(x: Tensor, low: int, high: int) -> Tensor:
    """The step of each row of ``n x e`` with the least squared error among clipping points, ``n``."""
    steps = torch.outer(torch.tensor(_CLIPS, device=x.device), x.abs().amax(1).clamp(min=_LEAST) / high)
    errors = [((x / s).round_().clamp_(low, high).mul_(s) - x).square_().sum(1) for s in steps[:, :, None]]
    return steps.gather(0, torch.stack(errors).argmin(0, keepdim=True))[0]


class WeightQuantizer(nn.Module):
    """A weight parametrization: symmetric, one step per filter, integers from -(2^(b-1) - 1) to 2^(b-1) - 1."""

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        self.weight_bits = bits
        self.high = 2 ** (bits - 1) - 1
        steps = _best_step(weight.detach().flatten(1), -self.high, self.high)
        self.log_step = nn.Parameter(steps.log().reshape(-1, *[1] * (weight.ndim - 1)))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on its grid."""
        return _quantize(weight, self.log_step, -self.high, self.high)


class InputQuantizer(nn.Module):
    """Quantizes what goes into a layer: unsigned after a ReLU, symmetric where negative values come in; one step.

    The step is fitted to the first batch that is seen while `observe` is on. Until then values pass unchanged.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.observe = False
        self.log_step = nn.Parameter(torch.zeros(()))
        self.low, self.high = 0, 2**bits - 1
        self.is_on = False

    def forward(self, x: Tensor) -> Tensor:
        """The activations on their grid."""
        if self.observe:
            self._fit(x)
        return _quantize(x, self.log_step, self.low, self.high) if self.is_on else x

    def _fit(self, x: Tensor) -> None:
        signed = bool(x.min() < 0)
        self.high = 2 ** (self.bits - 1) - 1 if signed else 2**self.bits - 1
        self.low = -self.high if signed else 0
        flat = x.detach().flatten()
        if len(flat) > _SAMPLE:  # drawn, because even steps would meet the same pixels of every row
            flat = flat[torch.randint(len(flat), (_SAMPLE,), generator=torch.Generator().manual_seed(0))]
        self.log_step.data.copy_(_best_step(flat[None], self.low, self.high)[0].log())
        self.observe, self.is_on = False, True

    def get_extra_state(self) -> Tensor:
        """The grid and whether it is in use, so that a state dictionary holds the whole quantizer."""
        return torch.tensor([self.low, self.high, self.is_on])

    def set_extra_state(self, state: Tensor) -> None:
        """The inverse of `get_extra_state`."""
        self.low, self.high, is_on = state.tolist()
        self.is_on = bool(is_on)


def _quantize_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (layer.input_quantizer(inputs[0]), *inputs[1:])  # type: ignore[operator]


def input_quantizers(model: nn.Module) -> list[InputQuantizer]:
    """Every quantizer of activations in a network."""
    return [module for module in model.modules() if isinstance(module, InputQuantizer)]


@dataclass(frozen=True)
class Quantization:
    """Fewer bits for weights and for the activations that go into a layer; each factor of a factorized layer alike."""

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Every layer."""
        every = np.ones(len(workload.names), bool)
        return {("weight_quantizer", "uniform"): every, ("activation_quantizer", "uniform"): every}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """Other bit-widths, the same shapes."""
        layer = owners(workload, choices.layers)
        weight, activation = choices.weight_bits[:, layer], choices.activation_bits[:, layer]
        return workload.replace(
            weight_bits=np.where(weight < FLOAT_BITS, weight, workload.weight_bits),
            activation_bits=np.where(activation < FLOAT_BITS, activation, workload.activation_bits),
        )

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Put a quantizer on the weights and before the input of each layer."""
        for name, choice in configuration.items():
            for layer in weight_layers(model, name):
                if choice.weight_bits < FLOAT_BITS:
                    quantizer = WeightQuantizer(layer.weight, choice.weight_bits)
                    parametrize.register_parametrization(layer, "weight", quantizer)
                if choice.activation_bits < FLOAT_BITS:
                    layer.input_quantizer = InputQuantizer(choice.activation_bits).to(layer.weight.device)
                    layer.register_forward_pre_hook(_quantize_input)
        return model
