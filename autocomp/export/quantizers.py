"""Quantizers of activations, recognised in a network's graph by what they compute.

``round`` between a division and a multiplication by the same number is a uniform quantizer, whoever wrote it; clipping
before or after it bounds the integers. It becomes one node, `quantize`, which the writers of ONNX know how to write.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

Scalar = float


@dataclass(frozen=True)
class Levels:
    """The values ``step * {low .. high}``."""

    step: float
    low: int
    high: int

    def clipped(self, low: float, high: float) -> Levels:
        """The levels that are left of values that are clipped to ``[low, high]`` first (rounding keeps their order)."""
        lowest = self.low if low == -math.inf else max(self.low, round(low / self.step))
        highest = self.high if high == math.inf else min(self.high, round(high / self.step))
        return replace(self, low=lowest, high=highest)


def quantize(x: Tensor, step: float, low: int, high: int) -> Tensor:
    """The nearest of the values ``step * {low .. high}``, ties to the even one."""
    return (x / step).round().clamp(low, high) * step


def levels_of(node: fx.Node) -> Levels:
    """What a `quantize` node rounds to."""
    return Levels(*node.args[1:])  # type: ignore[arg-type]


def operation(node: fx.Node) -> str:
    """The name of an ATen operation whatever its overload, in place or not: ``add`` for ``aten.add_.Tensor``; "" for others."""
    if node.op != "call_function":
        return ""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::").removesuffix("_")
    return getattr(node.target, "__name__", str(node.target))


def arguments(node: fx.Node) -> dict[str, Any]:
    """Every argument of an ATen operation by name, defaults included."""
    declared = node.target._schema.arguments  # type: ignore[union-attr]
    values = {a.name: a.default_value for a in declared}
    return values | {a.name: value for a, value in zip(declared, node.args, strict=False)} | dict(node.kwargs)


def constant_of(network: fx.GraphModule, argument: Any) -> Tensor | None:
    """The tensor that an argument stands for, if it is a weight or a buffer."""
    if not (isinstance(argument, fx.Node) and argument.op == "get_attr"):
        return None
    value: Any = operator.attrgetter(str(argument.target))(network)
    return value.detach() if isinstance(value, Tensor) else None


def scalar_of(network: fx.GraphModule, argument: Any) -> Scalar | None:
    """The number that an argument stands for; None if it is not known before the network runs."""
    if isinstance(argument, int | float):
        return float(argument)
    tensor = constant_of(network, argument)
    return float(tensor) if tensor is not None and tensor.numel() == 1 else None


def clip_limits(network: fx.GraphModule, node: fx.Node) -> tuple[float, float] | None:
    """What a node clips its input to; None if it does something else."""
    name = operation(node)
    if name in ("relu", "relu6"):
        return 0.0, math.inf if name == "relu" else 6.0
    if name not in ("clamp", "hardtanh"):
        return None
    given = arguments(node)
    keys = ("min", "max") if name == "clamp" else ("min_val", "max_val")
    limits = [default if given[k] is None else scalar_of(network, given[k]) for k, default in zip(keys, (-math.inf, math.inf), strict=True)]
    low, high = limits
    return None if low is None or high is None else (low, high)


def _factor(network: fx.GraphModule, node: fx.Node) -> float | None:
    """The positive number that a node multiplies its first input by."""
    if operation(node) not in ("mul", "div") or len(node.args) != 2 or node.kwargs:
        return None
    number = scalar_of(network, node.args[1])
    if number is None or number <= 0:
        return None
    return number if operation(node) == "mul" else 1 / number


@dataclass(frozen=True)
class _Chain:
    """From ``source`` on, values are multiplied by ``scale`` and bounded to ``low .. high`` in the scaled unit."""

    source: fx.Node
    scale: float
    low: float
    high: float

    def step(self, network: fx.GraphModule, node: fx.Node, *, forward: bool) -> _Chain | None:
        """The chain with one node more at its end (forward) or its beginning; None if that node is of another kind."""
        limits, factor = clip_limits(network, node), _factor(network, node)
        beyond: Any = node if forward or (limits is None and factor is None) else node.args[0]
        if not isinstance(beyond, fx.Node) or (limits is None and factor is None):
            return None
        if factor is not None:
            return replace(self, source=beyond, scale=self.scale * factor)
        low, high = limits or (-math.inf, math.inf)
        unit = 1 / self.scale if forward else self.scale
        return replace(self, source=beyond, low=max(self.low, low * unit), high=min(self.high, high * unit))


def recognise(network: fx.GraphModule) -> None:
    """Put one `quantize` in place of every uniform quantizer of a network's graph."""
    for node in [n for n in network.graph.nodes if operation(n) == "round"]:
        before = _backward(network, node)
        after = _forward(network, node, before)
        if after is None or not (math.isfinite(after.low) and math.isfinite(after.high)):
            continue
        levels = Levels(1 / before.scale, round(after.low), round(after.high))
        with network.graph.inserting_after(after.source):
            new = network.graph.call_function(quantize, (before.source, *astuple(levels)))
        new.meta.update(after.source.meta)
        after.source.replace_all_uses_with(new)
    finish(network)


def _backward(network: fx.GraphModule, node: fx.Node) -> _Chain:
    source: Any = node.args[0]
    chain = _Chain(source, 1.0, -math.inf, math.inf)
    while (longer := chain.step(network, chain.source, forward=False)) is not None:
        chain = longer
    return chain


def _forward(network: fx.GraphModule, node: fx.Node, before: _Chain) -> _Chain | None:
    """The chain up to the node that brings integers back to the unit of the values."""
    chain: _Chain | None = _Chain(node, 1.0, before.low, before.high)
    while chain is not None:
        if math.isclose(chain.scale * before.scale, 1, rel_tol=1e-6):
            return chain
        users = list(chain.source.users)
        chain = chain.step(network, users[0], forward=True) if len(users) == 1 else None
    return None


def finish(network: fx.GraphModule) -> None:
    """Drop nodes that nothing uses any more, and make the module run its changed graph."""
    network.graph.eliminate_dead_code(is_impure_node=lambda node: node.op in ("placeholder", "output"))
    network.recompile()


def merge(network: fx.GraphModule) -> None:
    """Quantize a value once where several quantizers do the same to it."""
    first: dict[tuple[Any, ...], fx.Node] = {}
    for node in [n for n in network.graph.nodes if n.target is quantize]:
        kept = first.setdefault(node.args, node)
        if kept is not node:
            node.replace_all_uses_with(kept)
    finish(network)


def hoist(network: fx.GraphModule, moves: Callable[[fx.Node], bool]) -> None:
    """Quantize as early as possible: before max-pooling and reshaping, which do not care, and with clipping included.

    What stands between a layer and the quantizer behind it would keep an engine from running the layer on integers.

    Args:
        network: with `quantize` in its graph.
        moves: whether a node gives the same result before and after rounding.
    """
    merge(network)
    waiting = [n for n in network.graph.nodes if n.target is quantize]
    while waiting:
        node = waiting.pop()
        source, levels = node.args[0], levels_of(node)
        if source.op != "call_function" or len(source.users) != 1:
            continue
        limits = clip_limits(network, source)
        if limits is not None:
            node.args = (source.args[0], *astuple(levels.clipped(*limits)))
            waiting.append(node)
        elif moves(source):
            with network.graph.inserting_before(source):
                earlier = network.graph.call_function(quantize, (source.args[0], *astuple(levels)))
            earlier.meta.update(source.args[0].meta)
            source.replace_input_with(source.args[0], earlier)
            node.replace_all_uses_with(source)
            network.graph.erase_node(node)
            waiting.append(earlier)
    merge(network)
