"""trace: a torch network as hardware sees it.

Compression leaves marks that are read here: a weight parametrization may carry ``weight_bits``, ``density``, ``pattern``,
``index_bits`` and ``codebook``; a layer may carry an ``input_quantizer`` with ``bits``, and a convolution a ``block``.
What is read is what the network does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.errors import ConfigError
from hwmodels import Op, Pattern, Workload

Shape = tuple[int, int, int]
LAYERS = (nn.Conv2d, nn.Linear)


def trace(network: nn.Module, input_shape: Shape, images: Tensor | None = None) -> Workload:
    """The convolutions and linear layers of a network, in execution order.

    Args:
        network: any module that takes a batch of images; it is run once, without gradient, and left as it was.
        input_shape: channels, height, width of one image.
        images: a batch to measure the density of each layer's input on; without it inputs count as dense.

    Returns:
        One slot per layer (``l``), named like its module.

    Raises:
        ConfigError: if the network runs no such layer.
    """
    rows: dict[str, dict[str, Any]] = {}
    densities: dict[str, list[float]] = {}

    def record(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows.setdefault(name, _shape_of(layer, inputs[0], output) | _marks_of(layer))
        density = 1.0 if images is None else int(torch.count_nonzero(inputs[0])) / inputs[0].numel()
        densities.setdefault(name, []).append(density)

    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output, name=name: record(name, layer, inputs, output))
        for name, layer in network.named_modules()
        if isinstance(layer, LAYERS)
    ]
    try:
        with measuring(network):
            network(blank(network, input_shape) if images is None else images)
    finally:
        for hook in hooks:
            hook.remove()
    if not rows:
        raise ConfigError(f"A network needs a convolution or a linear layer to compress, but {type(network).__name__} runs none.")
    columns = {field: np.array([row[field] for row in rows.values()]) for field in next(iter(rows.values()))}
    repeats, density = zip(*((len(calls), np.mean(calls)) for calls in densities.values()), strict=True)
    return Workload(names=tuple(rows), repeats=np.array(repeats), activation_density=np.array(density), **columns)


@contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module gets its own mode back."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def blank(network: nn.Module, input_shape: Shape) -> Tensor:
    """A batch of one black image, where the network's weights are."""
    weight = next(network.parameters(), torch.empty(0))
    return torch.zeros(1, *input_shape, device=weight.device)


def _shape_of(layer: nn.Module, x: Tensor, y: Tensor) -> dict[str, int]:
    if isinstance(layer, nn.Conv2d):
        return {
            "op": Op.CONV,
            "groups": layer.groups,
            "in_channels": x.shape[-3],
            "out_channels": y.shape[-3],
            "kernel_h": layer.kernel_size[0],
            "kernel_w": layer.kernel_size[1],
            "stride": int(layer.stride[0]),
            "in_h": x.shape[-2],
            "in_w": x.shape[-1],
            "out_h": y.shape[-2],
            "out_w": y.shape[-1],
            "block": _block_of(layer, y),
        }
    unit = dict.fromkeys(("groups", "kernel_h", "kernel_w", "stride", "in_w", "out_w"), 1)
    rows = int(np.prod(x.shape[1:-1]))  # a linear layer on a sequence runs once per element
    return unit | {"op": Op.LINEAR, "block": 0, "in_channels": x.shape[-1], "out_channels": y.shape[-1], "in_h": rows, "out_h": rows}


def _block_of(layer: nn.Module, y: Tensor) -> int:
    """The edge of a block convolution's blocks; 0 where the map is one block."""
    edge = getattr(layer, "block", 0)
    return int(edge) if max(y.shape[-2:]) > edge else 0


def _marks_of(layer: nn.Module) -> dict[str, float]:
    marks: dict[str, float] = {"weight_bits": 32, "weight_density": 1.0, "pattern": Pattern.DENSE, "index_bits": 0, "codebook": 0}
    marks["activation_bits"] = 32
    parts = layer.parametrizations["weight"] if parametrize.is_parametrized(layer, "weight") else ()  # type: ignore[index]
    for part in parts:
        marks |= {name: getattr(part, name) for name in marks if hasattr(part, name)}
    if hasattr(layer, "input_quantizer"):
        marks["activation_bits"] = layer.input_quantizer.bits  # type: ignore[union-attr,assignment]
    return marks
