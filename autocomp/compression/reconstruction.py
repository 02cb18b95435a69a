"""Reconstruction: weights of the compressed network that give the teacher's outputs from the inputs that are left, by least squares."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.tracing import LAYERS, measuring, trace

_ITERATIONS = 50
_RIDGE = 1e-3  # of the mean of the Gram matrix's diagonal; keeps weights that no input speaks about where they are
_SAMPLES = 10  # output positions for each weight of a filter


@torch.no_grad()
def reconstruct(student: nn.Module, teacher: nn.Module, images: Tensor) -> int:
    """Fit each layer's weights to the teacher's outputs, in order of execution.

    ``min_W ||Y - X W||^2`` with the teacher's outputs Y and the compressed network's own inputs X, which bear what was done to the
    layers before (He 2017, equation 6, asymmetric as in Zhang 2015, equation 8). Weights that are zero stay zero. Layers with quantized
    weights, grouped and block convolutions, factors, and layers whose filters were pruned stay as they are.

    Args:
        student: changed in place.
        teacher: has layers of the same names; stays as it is.
        images: normalised, ``n x c x h x w``.

    Returns:
        How many images went through a network.
    """
    shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
    passed = 0
    for name in trace(teacher, shape).names:
        layer, original = student.get_submodule(name), teacher.get_submodule(name)
        if _can_be_fitted(layer, original):
            (x, _), (_, y) = _call(student, layer, images), _call(teacher, original, images)
            _fit(layer, x, y)
            passed += 2 * len(images)
    return passed


def _can_be_fitted(layer: nn.Module, original: Any) -> bool:
    if not isinstance(layer, LAYERS) or len(layer.weight) != len(original.weight):
        return False
    parts = layer.parametrizations["weight"] if parametrize.is_parametrized(layer, "weight") else ()  # type: ignore[index]
    if any(hasattr(part, "weight_bits") for part in parts):
        return False
    if hasattr(layer, "block"):
        return False
    return isinstance(layer, nn.Linear) or (layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str))


def _call(network: nn.Module, layer: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What goes into a layer, behind its quantizer, and what comes out; of its first call."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    try:
        with measuring(network):
            network(images)
    finally:
        hook.remove()
    return seen[0]


def _fit(layer: Any, x: Tensor, y: Tensor) -> None:
    """Solve for one layer's weight, and its bias if it has one."""
    columns, wanted = _samples(layer, x, y)
    weight = layer.weight.flatten(1).T  # k x n
    free = (weight != 0) if parametrize.is_parametrized(layer, "weight") else torch.ones_like(weight)
    mean_x, mean_y = columns.mean(0), wanted.mean(0)
    if layer.bias is not None:
        columns, wanted = columns - mean_x, wanted - mean_y
    gram, missing = columns.T @ columns, columns.T @ (wanted - columns @ weight)
    ridge = _RIDGE * float(gram.diagonal().mean())
    fitted = weight + masked_solve(gram + ridge * torch.eye(len(gram)), missing, free.to(weight.dtype))
    target = layer.parametrizations.weight.original if parametrize.is_parametrized(layer, "weight") else layer.weight
    target.copy_(fitted.T.reshape(target.shape))
    if layer.bias is not None:
        layer.bias.copy_(mean_y - mean_x @ fitted)


def _samples(layer: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs ``m x k`` and outputs ``m x n`` at some positions, the same in each call."""
    if isinstance(layer, nn.Conv2d):
        x = F.unfold(x, layer.kernel_size, layer.dilation, layer.padding, layer.stride).transpose(1, 2)  # type: ignore[arg-type]
        y = y.flatten(2).transpose(1, 2)
    x, y = x.flatten(0, -2), y.flatten(0, -2)
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[: _SAMPLES * x.shape[1] + 1000]
    return x[chosen], y[chosen]


def masked_solve(matrix: Tensor, wanted: Tensor, free: Tensor) -> Tensor:
    """``D`` with the least ``tr(D' A D) / 2 - tr(D' B)`` among those that are 0 where ``free`` is, by conjugate gradients.

    Args:
        matrix: A, symmetric and positive definite, ``k x k``.
        wanted: B, ``k x n``; each column is a system of its own.
        free: 0 or 1, ``k x n``.
    """
    solution = torch.zeros_like(wanted)
    residual = wanted * free
    direction, size = residual.clone(), residual.square().sum(0)
    for _ in range(min(_ITERATIONS, len(matrix))):
        image = (matrix @ direction) * free
        length = size / (direction * image).sum(0).clamp(min=1e-20)
        solution += length * direction
        residual -= length * image
        before, size = size, residual.square().sum(0)
        direction = residual + size / before.clamp(min=1e-20) * direction
    return solution
