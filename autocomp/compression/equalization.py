"""Cross-layer equalization: channels are scaled between two layers, so that no channel is much wider than the others (Nagel 2019).

A function with ``f(s x) = s f(x)`` for ``s > 0`` lets a scale pass: what one layer makes ``1/s`` as large, the next one makes ``s`` times
as large, and the network computes the same (Nagel et al., "Data-free quantization through weight equalization and bias correction",
ICCV 2019, section 4.1). Batch norm behind the first layer is not folded: its scale and shift take the ``1/s``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import pooling

from autocomp.channels import NORMS
from autocomp.tracing import LAYERS

_HOMOGENEOUS = (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Dropout, pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd)
_HOMOGENEOUS_FUNCTIONS = {"relu", "relu_", "leaky_relu", "dropout", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"}


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing but positively homogeneous functions in between; names of modules, ``norm`` empty for none."""

    first: str
    norm: str
    second: str


def pairs(network: nn.Module) -> list[Pair]:
    """Every pair of a graph, in execution order; none where the network is not a graph.

    A pair's maps are used by nobody else, and none of its layers runs twice.
    """
    if not isinstance(network, fx.GraphModule):
        return []
    calls = [node.target for node in network.graph.nodes if node.op == "call_module"]
    found = []
    for node in network.graph.nodes:
        if isinstance(_module(network, node), LAYERS):
            pair = _follow(network, node)
            if pair and all(calls.count(name) == 1 for name in (pair.first, pair.norm, pair.second) if name):
                found.append(pair)
    return found


def _module(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def _follow(network: fx.GraphModule, first: fx.Node) -> Pair | None:
    """The pair that a layer begins, if it begins one."""
    norm, node = "", first
    while len(node.users) == 1:
        node = next(iter(node.users))
        module = _module(network, node)
        if isinstance(module, LAYERS):
            layer = network.get_submodule(str(first.target))
            return Pair(str(first.target), norm, str(node.target)) if _fits(layer, module) else None
        if isinstance(module, NORMS) and module.affine and not norm:
            norm = str(node.target)
        elif not isinstance(module, _HOMOGENEOUS) and getattr(node.target, "__name__", node.target) not in _HOMOGENEOUS_FUNCTIONS:
            return None
    return None


def _fits(first: Any, second: Any) -> bool:
    """Whether the first one's outputs are, one by one, the second one's inputs; a flattened map's are not."""
    width = first.out_features if isinstance(first, nn.Linear) else first.out_channels
    inputs = second.in_features if isinstance(second, nn.Linear) else second.in_channels
    return width == inputs and (isinstance(second, nn.Linear) or second.groups in (1, inputs))


@torch.no_grad()
def equalize(network: nn.Module) -> nn.Module:
    """A copy that computes the same, with equal ranges on both sides of every channel between two layers.

    The scale is ``s = sqrt(r1 r2) / r2`` of the largest magnitudes ``r1`` of the channel's filter (as batch norm scales it) and ``r2`` of
    the weights that take it in (equation 11); ranges that are 0 leave the channel alone. One sweep in execution order.
    """
    copied = copy.deepcopy(network)
    for pair in pairs(copied):
        first, second, norm = (copied.get_submodule(name) if name else None for name in (pair.first, pair.second, pair.norm))
        made, taken = _made(first, norm), _taken(second)
        scale = torch.where((made > 0) & (taken > 0), (made / taken).sqrt(), 1.0)
        _divide(norm or first, scale)
        _multiply(second, scale)
    return copied


def _made(layer: Any, norm: Any) -> Tensor:
    """The largest magnitude of each filter (``c``), as batch norm scales it."""
    largest: Tensor = layer.weight.abs().flatten(1).amax(1)
    return largest if norm is None else largest * norm.weight.abs() / (norm.running_var + norm.eps).sqrt()


def _taken(layer: Any) -> Tensor:
    """The largest magnitude of the weights that take each channel in (``c``); a depthwise layer has one filter for each."""
    weight: Tensor = layer.weight
    by_input = weight if getattr(layer, "groups", 1) > 1 else weight.transpose(0, 1)
    return by_input.abs().flatten(1).amax(1)


def _multiply(layer: Any, scale: Tensor) -> None:
    """Make each input channel's weights ``s`` times as large."""
    axis = 0 if getattr(layer, "groups", 1) > 1 else 1
    layer.weight.mul_(scale.view([-1 if i == axis else 1 for i in range(layer.weight.ndim)]))


def _divide(module: Any, scale: Tensor) -> None:
    """Make each output channel of a layer or a norm ``1/s`` as large."""
    module.weight.div_(scale.view(-1, *[1] * (module.weight.ndim - 1)))
    if module.bias is not None:
        module.bias.div_(scale)
