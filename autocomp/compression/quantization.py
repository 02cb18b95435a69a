"""Quantization: weights, and the activations that go into a layer, on few levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import FIXED_POINT, FLOAT_BITS, HASHED, Choice, Choices, Configuration
from autocomp.compression.base import Calibration, Method
from autocomp.compression.layers import Layer, owners, weight_layers
from autocomp.compression.quantizers import INPUT_MODULES, WEIGHT_MODULES
from autocomp.compression.quantizers.fixed_point import fixed_point_modules, full_precision, original, ternary_pair
from autocomp.compression.quantizers.hashing import hashed
from autocomp.compression.quantizers.inputs import InputQuantizer
from autocomp.compression.quantizers.xnor import XnorInput, scale_outputs
from autocomp.errors import ConfigError
from hwmodels import Workload


def _quantize_input(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (layer.input_quantizer(inputs[0]), *inputs[1:])  # type: ignore[operator]


def _quantize_weights(layers: Sequence[Layer], choice: Choice) -> None:
    quantizers: Sequence[nn.Module] = ()  # codebooks are a method of their own
    if choice.weight_quantizer == FIXED_POINT:
        first, second = layers
        whole = first.weight.detach(), second.weight.detach()
        pair = ternary_pair(*whole)
        quantizers = fixed_point_modules(*pair)
        for layer, recovered in zip(layers, full_precision(*whole, *pair), strict=True):
            original(layer).data.copy_(recovered)
    elif choice.weight_quantizer in WEIGHT_MODULES:
        quantizers = [WEIGHT_MODULES[choice.weight_quantizer](layer.weight, choice.weight_bits) for layer in layers]
    for layer, quantizer in zip(layers, quantizers, strict=bool(quantizers)):
        parametrize.register_parametrization(layer, "weight", quantizer.to(layer.weight.device).train(layer.training))


def input_quantizers(model: nn.Module) -> list[InputQuantizer]:
    """Every quantizer of activations in a network."""
    return [module for module in model.modules() if isinstance(module, InputQuantizer)]


@dataclass(frozen=True, eq=False)
class Quantization:
    """Fewer bits for weights and for the activations that go into a layer; each factor of a factorized layer alike.

    Attributes:
        calibration: images on which hashed weights keep a layer's answers.

    Raises:
        ConfigError: in `apply`, if a layer without two factors is to be factorized in fixed point.
    """

    calibration: Calibration | None = None

    def given(self, calibration: Calibration) -> Method:
        """The same with images at hand."""
        return replace(self, calibration=calibration)

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Every layer; ternary factors where there can be factors."""
        every = np.ones(len(workload.names), bool)
        factors = (workload.groups == 1) & (np.minimum(workload.gemm_k, workload.gemm_n) > 1)
        modules = {"weight_quantizer": WEIGHT_MODULES, "activation_quantizer": INPUT_MODULES}
        alone = {(knob, name): every for knob, names in modules.items() for name in names}
        return alone | {("weight_quantizer", FIXED_POINT): factors}

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
            layers = weight_layers(model, name)
            if choice.weight_bits < FLOAT_BITS:
                if choice.weight_quantizer == FIXED_POINT and len(layers) != 2:
                    raise ConfigError(
                        f"`{FIXED_POINT}` weights need two factors, but layer '{name}' has {len(layers)}; see `factorization`."
                    )
                if choice.weight_quantizer == HASHED and self.calibration is not None:
                    for layer in layers:
                        original(layer).data.copy_(hashed(layer, model, self.calibration))
                _quantize_weights(layers, choice)
            if choice.activation_bits < FLOAT_BITS:
                for layer in layers:
                    inputs = INPUT_MODULES[choice.activation_quantizer](choice.activation_bits)
                    layer.input_quantizer = inputs.to(layer.weight.device)
                    layer.register_forward_pre_hook(_quantize_input)
                    if isinstance(inputs, XnorInput):
                        layer.register_forward_hook(scale_outputs)
        return model
