"""Low-rank factorization: one kernel becomes smaller ones in a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choices, Configuration
from autocomp.compression import slots
from autocomp.compression.base import Calibration, Method
from autocomp.compression.factors import factors, kernel_of
from autocomp.compression.kinds import KINDS, Part
from autocomp.compression.layers import Layer
from autocomp.compression.responses import fit_to_responses
from autocomp.errors import ConfigError
from hwmodels import Workload


@dataclass(frozen=True)
class FactorizationSettings:
    """How factors are computed; into which, and of which rank, is decided layer by layer.

    Attributes:
        responses: fit them to what layers answer on calibration images (Zhang 2015) instead of to the weights alone.
    """

    responses: bool = False


@dataclass(frozen=True, eq=False)
class Factorization:
    """Splits kernels in the ways of `KINDS`; ranks are a fraction of the full ones, of the layer as pruned.

    Attributes:
        responses: fit each chain to the answers of the layer that it replaces (see `fit_to_responses`), where there are images; it is
            as near to the layer's weights as it can be otherwise.
        calibration: images to see the answers on.
    """

    responses: bool = False
    calibration: Calibration | None = None

    def given(self, calibration: Calibration) -> Method:
        """The same with images at hand."""
        return replace(self, calibration=calibration)

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Ungrouped layers whose ranks can be lowered, and whose kernel the kind splits in a way of its own."""
        sides = slots.kernels(workload)
        return {("factorization", name): slots.splits(kind, workload) & kind.can_be_lowered(sides) for name, kind in KINDS.items()}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """Two to four slots for every layer that some candidate factorizes."""
        return slots.split(workload, choices)

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Replace each factorized layer by a chain of two to four.

        Raises:
            ConfigError: if a layer cannot be split in the way that is asked for.
        """
        chains = {
            name: factorized(name, model.get_submodule(name), choice.factorization, choice.rank)
            for name, choice in configuration.items()
            if choice.factorization in KINDS
        }
        if self.responses and self.calibration is not None:
            fit_to_responses(model, chains, self.calibration.images)
            self.calibration.spend(2 * len(chains))
        for name, chain in chains.items():
            model.set_submodule(name, chain)
        return model


def factorized(name: str, layer: nn.Module, kind: str, fraction: float) -> nn.Sequential:
    """The chain that takes a layer's place, in the layer's mode.

    Raises:
        ConfigError: if the kind does not split such a layer.
    """
    if not isinstance(layer, nn.Conv2d | nn.Linear) or not _fits(layer, kind):
        raise ConfigError(slots.unfit(kind, name))
    weight = layer.weight.detach()
    layout = KINDS[kind].at(kernel_of(weight), np.asarray(fraction))
    chain = [
        _part(layer, part, factor, int(groups))
        for part, factor, groups in zip(KINDS[kind].parts, factors(kind, weight, layout), layout.groups, strict=True)
    ]
    if layer.bias is not None:
        chain[-1].bias = nn.Parameter(layer.bias.detach().clone())
    return nn.Sequential(*chain).train(layer.training)


def _fits(layer: Layer, kind: str) -> bool:
    groups = np.asarray(getattr(layer, "groups", 1))
    return bool(KINDS[kind].splits(kernel_of(layer.weight), groups, np.asarray(isinstance(layer, nn.Linear))))


@torch.no_grad()
def _part(layer: Layer, part: Part, weight: Tensor, groups: int) -> Layer:
    """One layer of a chain without bias; along each side that it carries it steps and pads as the whole one does."""
    outputs, inputs, *size = weight.shape
    made: dict[str, Any] = {"bias": False, "device": weight.device, "dtype": weight.dtype}
    if isinstance(layer, nn.Linear):
        linear = nn.Linear(inputs, outputs, **made)
        linear.weight.copy_(weight.flatten(1))
        return linear
    padding = layer.padding if isinstance(layer.padding, str) else _along(layer.padding, part, 0)
    along: Any = {
        "stride": _along(layer.stride, part, 1),
        "dilation": _along(layer.dilation, part, 1),
        "padding": padding,
        "padding_mode": layer.padding_mode if any(padding) else "zeros",
    }
    convolution = nn.Conv2d(inputs * groups, outputs, tuple(size), groups=groups, **along, **made)  # type: ignore[arg-type]
    convolution.weight.copy_(weight)
    return convolution


def _along(values: tuple[int, ...], part: Part, otherwise: int) -> tuple[int, ...]:
    return tuple(value if carries else otherwise for value, carries in zip(values, part, strict=True))
