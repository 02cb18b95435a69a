"""Which channels are tied to which: groups of single channels that live or die together.

A network's graph is walked once with a *label* for every single channel. Layers give new labels, element-wise operations
unite the labels of their operands, data movement carries labels along. What is united is one group: removing it removes
the same feature everywhere. Working on single channels covers shortcuts that pad, concatenate or flatten.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn.modules import pooling
from torch.utils._pytree import tree_leaves

from autocomp.graph import ChannelPad, normalize, operation
from autocomp.ties import FROZEN, Labels, Ties
from autocomp.tracing import LAYERS, Shape, blank, measuring

__all__ = ["FROZEN", "NORMS", "ChannelMap", "ChannelPad", "Family", "Labels", "channel_map", "normalize"]

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_POOLS = (pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd)
_CURVES = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh)
# operations that keep each channel where it is, whatever they do inside it
_PER_CHANNEL_MODULES = (*_POOLS, *_CURVES, nn.Identity, nn.Upsample, nn.modules.dropout._DropoutNd)
_PER_CHANNEL = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "silu", "gelu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "hardtanh"),
    *("dropout", "clamp", "contiguous", "clone", "float", "neg", "max_pool2d", "avg_pool2d"),
    *("adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate"),
}
_ELEMENTWISE = {"add", "iadd", "add_", "sub", "mul", "imul", "mul_", "truediv", "div", "maximum", "minimum"}
_MOVEMENT = {"flatten", "view", "reshape", "cat", "concat", "squeeze", "unsqueeze", "getitem", "mean", "pad", "permute", "transpose"}


@dataclass(frozen=True, eq=False)
class Family:
    """Groups that appear in the same modules equally often; they differ only in their weights.

    Attributes:
        leader: the first layer that produces them; its choice decides how many go.
        members: their group numbers.
    """

    leader: str
    members: Labels


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """The group number of every channel of every module, `FROZEN` where it must stay.

    Attributes:
        inputs, outputs: module name -> group of each input and output channel.
        families: the prunable groups.
    """

    inputs: Mapping[str, Labels]
    outputs: Mapping[str, Labels]
    families: tuple[Family, ...]

    @cached_property
    def leaders(self) -> frozenset[str]:
        """Layers whose filters can be pruned."""
        return frozenset(family.leader for family in self.families)

    def multiplicity(self, side: Mapping[str, Labels], layers: tuple[str, ...]) -> Labels:
        """How many channels of each layer go with one group of each family, ``l x f``."""
        firsts = [family.members[0] for family in self.families]
        counts = [[int((side.get(name, np.zeros(0)) == group).sum()) for group in firsts] for name in layers]
        return np.array(counts, np.int64).reshape(len(layers), len(self.families))


def channel_map(graph: fx.GraphModule, input_shape: Shape) -> ChannelMap:
    """Find the tied channels of a normalised network."""
    walk = _Walk(graph)
    with measuring(graph):
        walk.run(blank(graph, input_shape))
    return walk.result()


class _Walk(fx.Interpreter):
    """Runs the graph and carries channel labels beside the values."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.labels: dict[fx.Node, Labels] = {}
        self.inputs: dict[str, Labels] = {}
        self.outputs: dict[str, Labels] = {}
        self.ties = Ties()
        self.pinned: set[str] = set()

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        operands = [self.labels[a] for a in n.all_input_nodes if a in self.labels]
        if n.op == "output":
            self._freeze(operands)
        elif isinstance(value, Tensor) and value.ndim >= 2:
            self.labels[n] = self._labels_of(n, value, operands)
        elif not isinstance(value, int | float | torch.Size):  # a tuple of tensors, say: cannot be followed
            self._freeze(operands)
        return value

    def _labels_of(self, node: fx.Node, value: Tensor, operands: list[Labels]) -> Labels:
        if node.op == "call_module":
            return self._through_module(str(node.target), value, operands)
        if node.op == "get_attr":  # a weight that the network reaches for itself
            self.pinned.add(str(node.target).rpartition(".")[0])
        if operands and node.op in {"call_function", "call_method"}:
            name = operation(node)
            if name in _PER_CHANNEL and len(operands) == 1 and self._aligns(node, value):
                return operands[0]
            if name in _ELEMENTWISE and self._aligns(node, value):
                return self._unite(operands, value.shape[1])
            if name in _MOVEMENT and not _names_sizes(node):
                return self._move(node, value, operands)
        return self._opaque(value, operands)

    def _freeze(self, operands: list[Labels]) -> None:
        for labels in operands:
            self.ties.freeze(labels)

    def _opaque(self, value: Tensor, operands: list[Labels]) -> Labels:
        """The result of something unknown: nothing that goes in or comes out may change."""
        labels = self.ties.fresh(value.shape[1])
        self._freeze([*operands, labels])
        return labels

    def _aligns(self, node: fx.Node, value: Tensor) -> bool:
        """Whether the second axis of every operand is the second axis of the result; single numbers do no harm."""
        tensors = [self.env[a] for a in node.all_input_nodes if isinstance(self.env[a], Tensor)]
        return all(t.ndim == value.ndim or t.numel() == 1 for t in tensors)

    def _unite(self, operands: list[Labels], channels: int) -> Labels:
        """Tie channels that meet; one that is spread over all others (a spatial attention map) stays, and ties nothing."""
        self._freeze([o for o in operands if len(o) < channels])
        wide = [o for o in operands if len(o) == channels]
        for other in wide[1:]:
            self.ties.tie(wide[0], other)
        return wide[0]

    def _move(self, node: fx.Node, value: Tensor, operands: list[Labels]) -> Labels:
        """Run the very operation on labels instead of values and see where they end up."""
        if operation(node) == "pad" and len(operands[0]) == value.shape[1]:  # spatial: the border is not a channel
            return operands[0]

        def as_labels(a: fx.Node) -> Any:
            present = self.env[a]
            if a not in self.labels:
                return present
            filled = torch.from_numpy(self.labels[a].copy()).to(torch.float64)
            return filled.reshape(1, -1, *[1] * (present.ndim - 2)).expand(present.shape)

        args, kwargs = fx.map_arg(node.args, as_labels), fx.map_arg(node.kwargs, as_labels)
        target: Any = node.target
        moved = getattr(args[0], target)(*args[1:], **kwargs) if node.op == "call_method" else target(*args, **kwargs)
        flat = moved.reshape(moved.shape[0], moved.shape[1], -1)
        if moved.shape[0] != 1 or (flat != flat[:, :, :1]).any():
            return self._opaque(value, operands)
        labels: Labels = flat[0, :, 0].numpy().astype(np.int64)
        if _reorders(labels, operands, operation(node)):
            return self._opaque(value, operands)
        return labels

    def _through_module(self, name: str, value: Tensor, operands: list[Labels]) -> Labels:
        module, given = self.submodules[name], operands[0] if len(operands) == 1 else self.ties.fresh(0)
        if isinstance(module, _PER_CHANNEL_MODULES) and len(given) == value.shape[1]:
            return given
        if isinstance(module, nn.Flatten) and module.start_dim == 1 and len(given):
            return np.repeat(given, value.shape[1] // len(given))
        made = self._made(module, value, given)
        if made is None:
            self.pinned.add(name)
            return self._opaque(value, operands)
        if name in self.inputs:  # a module that runs twice ties its channels across the calls
            self.ties.tie(self.inputs[name], given)
            self.ties.tie(self.outputs[name], made)
        self.inputs[name], self.outputs[name] = given, made
        return made

    def _made(self, module: nn.Module, value: Tensor, given: Labels) -> Labels | None:
        """The channels that a module with channels of its own makes; None if it cannot be followed."""
        if isinstance(module, LAYERS) and len(given) and value.ndim == (4 if isinstance(module, nn.Conv2d) else 2):
            return self._layer(module, given)
        if isinstance(module, NORMS) and len(given) == value.shape[1]:
            return given
        if isinstance(module, ChannelPad):
            source = module.source.numpy()
            return np.where(source >= 0, given[source], self.ties.fresh(len(source)))
        return None

    def _layer(self, module: nn.Conv2d | nn.Linear, given: Labels) -> Labels:
        groups = module.groups if isinstance(module, nn.Conv2d) else 1
        made = self.ties.fresh(module.out_channels if isinstance(module, nn.Conv2d) else module.out_features)
        if 1 < groups == len(given):  # depthwise: each input feeds its own outputs only
            self.ties.tie(np.repeat(given, len(made) // groups), made)
        elif groups > 1:
            self.ties.balance(given, groups)
            self.ties.balance(made, groups)
        return made

    def result(self) -> ChannelMap:
        for name in self.pinned:
            self._freeze([side[name] for side in (self.inputs, self.outputs) if name in side])
        group = self.ties.resolve()
        inputs = {name: group[labels] for name, labels in self.inputs.items()}
        outputs = {name: group[labels] for name, labels in self.outputs.items()}
        return ChannelMap(inputs, outputs, _families(inputs, outputs, self.submodules))


def _names_sizes(node: fx.Node) -> bool:
    """Whether a reshape has a width written into it, which would be wrong once channels are gone."""
    return operation(node) in {"view", "reshape"} and any(isinstance(a, int) and a > 1 for a in tree_leaves((node.args, node.kwargs)))


def _reorders(labels: Labels, operands: list[Labels], operation: str) -> bool:
    """Whether a movement depends on the number of channels, so that it would be wrong once some are gone."""
    if operation in {"cat", "concat"}:
        return not np.array_equal(labels, np.concatenate(operands))
    given = operands[0]
    return not (len(labels) % len(given) == 0 and np.array_equal(labels, np.repeat(given, len(labels) // len(given))))


def _families(inputs: Mapping[str, Labels], outputs: Mapping[str, Labels], modules: Mapping[str, nn.Module]) -> tuple[Family, ...]:
    appearances: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    leader: dict[int, str] = {}
    for side, table in (("in", inputs), ("out", outputs)):
        for name, groups in table.items():
            for group, count in zip(*np.unique(groups[groups != FROZEN], return_counts=True), strict=True):
                appearances[int(group)].append((side, name, int(count)))
                if side == "out" and isinstance(modules[name], LAYERS):
                    leader.setdefault(int(group), name)
    alike: dict[tuple[tuple[str, str, int], ...], list[int]] = defaultdict(list)
    for group, places in appearances.items():
        if group in leader:
            alike[tuple(places)].append(group)
    return tuple(Family(leader[members[0]], np.array(sorted(members), np.int64)) for members in alike.values())
