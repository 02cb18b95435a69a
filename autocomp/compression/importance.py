"""Importance: what each weight of a layer is worth; what a filter or another unit is worth is the sum over its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from autocomp.compression.base import Calibration
from autocomp.compression.layers import Layer
from autocomp.errors import ConfigError

MAGNITUDES: Mapping[str, Callable[[Tensor], Tensor]] = {"l1": torch.abs, "l2": torch.square}
"""What needs no images: magnitude (Han 2015, Li 2017) and its square."""

_BATCH = 32  # images whose gradient is taken at once
_PER_EXAMPLE = 1 << 26  # numbers that the gradients of single images may take at a time


def importances(model: nn.Module, layers: Sequence[Layer], criterion: str, calibration: Calibration | None) -> list[Tensor]:
    """What every weight of some layers is worth, each shaped like the layer's weight.

    Args:
        model: in evaluation mode; it is left as it was.
        layers: parts of the model.
        criterion: of `MAGNITUDES`, or ``taylor`` or ``obd``.
        calibration: images for the latter.

    Raises:
        ConfigError: if the criterion needs images and there are none.
    """
    if criterion in MAGNITUDES:
        return [MAGNITUDES[criterion](layer.weight.detach()) for layer in layers]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights = {names[id(layer.weight)]: layer.weight.detach() for layer in layers}
    given = needed(criterion, calibration)
    images, answers = _examples(model, given)
    given.spend(3 if given.labels is not None else 4)
    found = _GRADIENTS[criterion](model, weights, images, answers)
    return [found[name].detach() for name in weights]


def needed(criterion: str, calibration: Calibration | None) -> Calibration:
    """The images that a criterion looks at.

    Raises:
        ConfigError: if there are none.
    """
    if calibration is None or not len(calibration.images):
        raise ConfigError(f"Importance '{criterion}' is measured on images, but there are none; give some, or use l1 or l2.")
    return calibration


def _examples(model: nn.Module, calibration: Calibration) -> tuple[Tensor, Tensor]:
    if calibration.labels is not None:
        return calibration.images, calibration.labels
    with torch.no_grad():
        return calibration.images, torch.cat([model(part).argmax(1) for part in torch.split(calibration.images, _BATCH)])


def _loss(model: nn.Module) -> Callable[[Mapping[str, Tensor], Tensor, Tensor], Tensor]:
    """Cross entropy as a function of weights, images and answers."""
    return lambda weights, x, y: F.cross_entropy(functional_call(model, dict(weights), (x,)), y)


def _taylor(model: nn.Module, weights: Mapping[str, Tensor], images: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """How much the loss changes to first order without a weight: ``(w dL/dw)^2``, mean over batches (Molchanov 2019, equation 8)."""
    gradient, parts = grad(_loss(model)), torch.split(images, _BATCH)
    squares = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for x, y in zip(parts, torch.split(answers, _BATCH), strict=True):
        for name, slope in gradient(weights, x, y).items():
            squares[name] += (weights[name] * slope).square() / len(parts)
    return squares


def _obd(model: nn.Module, weights: Mapping[str, Tensor], images: Tensor, answers: Tensor) -> dict[str, Tensor]:
    """How much the loss rises to second order: ``h w^2 / 2`` (optimal brain damage, LeCun 1990, equation 5).

    ``h``, the diagonal of the Hessian, is that of the empirical Fisher matrix: the mean over images of ``(dL/dw)^2``.
    """
    of_each = vmap(grad(_loss(model)), (None, 0, 0))
    at_once = max(1, min(_BATCH, _PER_EXAMPLE // max(sum(w.numel() for w in weights.values()), 1)))
    fisher = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for x, y in zip(torch.split(images[:, None], at_once), torch.split(answers[:, None], at_once), strict=True):
        for name, slope in of_each(weights, x, y).items():
            fisher[name] += slope.square().sum(0) / len(images)
    return {name: fisher[name] * weight.square() / 2 for name, weight in weights.items()}


_GRADIENTS = {"taylor": _taylor, "obd": _obd}
WEIGHT_CRITERIA = (*MAGNITUDES, *_GRADIENTS)
