"""Networks as graphs in which every movement of channels is a module that can be pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autocomp.tracing import Shape, blank, measuring


class ChannelPad(nn.Module):
    """Puts channels into other places; places without a source are zero.

    A wider or narrower tensor (option-A shortcut, He 2016) is one case, another order of the channels (shuffle, Zhang 2018) another.

    Args:
        source: for each channel that comes out, the one that goes in, or -1.
    """

    source: Tensor

    def __init__(self, source: Tensor) -> None:
        super().__init__()
        self.register_buffer("source", source)

    def forward(self, x: Tensor) -> Tensor:
        """``b x c x h x w`` to ``b x len(source) x h x w``."""
        zero_appended = F.pad(x, (0, 0, 0, 0, 0, 1))
        return zero_appended.index_select(1, torch.where(self.source < 0, x.shape[1], self.source))


def normalize(network: nn.Module, input_shape: Shape) -> fx.GraphModule | None:
    """The same network as a graph in which channel padding and channel shuffles are `ChannelPad` modules.

    Returns:
        A graph that shares the network's parameters, or None if the network cannot be traced symbolically.
    """
    try:
        graph = fx.symbolic_trace(network)
        with measuring(graph):
            _Shapes(graph).run(blank(network, input_shape))
    except Exception:  # a network may fail to trace in any way it likes; then it is compressed without channel groups
        return None
    for node in graph.graph.nodes:
        node.type = None  # an annotation that is a string cannot be pickled (torch 2.13), and workers need a pickle
    moving = {node: source for node in graph.graph.nodes if (source := _source(node, dict(graph.named_modules()))) is not None}
    for number, (node, source) in enumerate(moving.items()):
        name = f"channel_pad_{number}"
        graph.add_submodule(name, ChannelPad(source))
        with graph.graph.inserting_before(node):
            pad = graph.graph.call_module(name, (node.args[0],))
        pad.meta.update(node.meta)
        node.replace_all_uses_with(pad)
        graph.graph.erase_node(node)
    graph.recompile()
    return graph


class _Shapes(fx.Interpreter):
    """Leaves at each node the shape of its tensor; torch's own pass would import much of the compiler, which takes a second."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = result.shape
        return result


def _source(node: fx.Node, modules: Mapping[str, nn.Module]) -> Tensor | None:
    """Where each channel comes from, if a node pads or shuffles channels."""
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    groups: Any = module.groups if isinstance(module, nn.ChannelShuffle) else None
    if operation(node) == "channel_shuffle":
        groups = node.args[1] if len(node.args) > 1 else node.kwargs["groups"]
    if isinstance(groups, int):
        return torch.arange(_channels(node)).reshape(groups, -1).T.flatten()
    if _pads_channels(node):
        pad: Any = node.args[1]
        return F.pad(torch.arange(_channels(node)), pad[4:6], value=-1)
    return None


def _channels(node: fx.Node) -> int:
    """Channels that go into a node."""
    return int(node.all_input_nodes[0].meta["shape"][1])


def _pads_channels(node: fx.Node) -> bool:
    if operation(node) != "pad" or len(node.args) < 2 or not isinstance(node.args[1], list | tuple):
        return False
    pad: Any = node.args[1]
    mode = node.args[2] if len(node.args) > 2 else node.kwargs.get("mode", "constant")
    value = node.args[3] if len(node.args) > 3 else node.kwargs.get("value")
    is_constant = mode == "constant" and not value and all(isinstance(p, int) for p in pad)
    return len(pad) == 6 and not any(pad[:4]) and is_constant and len(node.meta["shape"]) == 4


def operation(node: fx.Node) -> str:
    """The name of the function or method that a node calls."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
