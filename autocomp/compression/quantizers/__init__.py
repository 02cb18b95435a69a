"""Quantizers by name: modules that put weights or activations on few levels, with straight-through gradients.

A quantizer of weights is a parametrization that carries ``weight_bits``; one of activations is an `InputQuantizer`. One that
has ``advance(progress)`` changes during fine-tuning and is told after each step how much of it is over, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from autocomp.compression.quantizers.binary import BinaryWeight
from autocomp.compression.quantizers.dorefa import DoReFaInput, DoReFaWeight
from autocomp.compression.quantizers.half_wave import HalfWaveInput
from autocomp.compression.quantizers.inputs import InputQuantizer, UniformInput
from autocomp.compression.quantizers.power_of_two import LogWeight, PowerOfTwoWeight
from autocomp.compression.quantizers.sign import SignInput
from autocomp.compression.quantizers.ternary import TernaryWeight, TrainedTernaryWeight
from autocomp.compression.quantizers.uniform import UniformWeight
from autocomp.compression.quantizers.xnor import XnorInput

WEIGHT_MODULES: Mapping[str, Callable[[Tensor, int], nn.Module]] = {
    "uniform": UniformWeight,
    "uniform_per_tensor": partial(UniformWeight, per_filter=False),
    "binary": lambda weight, bits: BinaryWeight(),
    "ternary": lambda weight, bits: TernaryWeight(),
    "trained_ternary": lambda weight, bits: TrainedTernaryWeight(weight),
    "power_of_two": PowerOfTwoWeight,
    "log": LogWeight,
    "dorefa": DoReFaWeight,
    "hashed_binary": lambda weight, bits: BinaryWeight(),  # from another start, see `hashing`
}
"""From a layer's weight and the bits to the parametrization, by `autocomp.choice.WEIGHT_QUANTIZERS`."""

INPUT_MODULES: Mapping[str, Callable[[int], InputQuantizer]] = {
    "uniform": UniformInput,
    "dorefa": DoReFaInput,
    "half_wave": HalfWaveInput,
    "sign": SignInput,
    "xnor": XnorInput,
}
"""From the bits to the quantizer, by `autocomp.choice.ACTIVATION_QUANTIZERS`."""
