"""What every ONNX form shares: layers with their stored weights, operations in floating point, and the walk over the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx

from autocomp.export.operators import EMITTERS
from autocomp.export.quantizers import Levels, arguments, constant_of, operation, quantize
from autocomp.export.reading import LAYERS
from autocomp.export.writing import Writer, shape_of, unsupported


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer with what is stored of it.

    Attributes:
        node: in the network's graph.
        weight: ``o x ...``.
        bias: ``o``; None without one.
        attributes: of ONNX's Conv; empty for a linear layer.
    """

    node: fx.Node
    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    attributes: dict[str, Any]

    @property
    def input(self) -> Any:
        """The node that it computes from."""
        return self.node.args[0]

    @property
    def is_convolution(self) -> bool:
        """Whether it is no linear layer."""
        return operation(self.node) == "conv2d"

    def names(self, part: str) -> str:
        """What a stored part of it is called."""
        return f"{self.node.name}.{part}"


@dataclass
class Counts:
    """How many layers were written in which form."""

    integer: int = 0
    float: int = 0


def layer_of(network: fx.GraphModule, node: fx.Node) -> Layer | None:
    """The layer that a node is; None if its weights are not stored ones."""
    given = arguments(node)
    weight, bias = constant_of(network, given["weight"]), constant_of(network, given["bias"])
    if weight is None or (bias is None and given["bias"] is not None):
        return None
    attributes = _convolution(node, given) if operation(node) == "conv2d" else {}
    return Layer(node, weight.cpu().numpy(), None if bias is None else bias.cpu().numpy(), attributes)


def _convolution(node: fx.Node, given: dict[str, Any]) -> dict[str, Any]:
    stride, dilation = (list(given[key]) for key in ("stride", "dilation"))
    if isinstance(given["padding"], str):
        if given["padding"] != "valid":
            raise unsupported(node, f"padding '{given['padding']}'")
        pads = [0, 0]
    else:
        pads = list(given["padding"])
    both = {"strides": stride, "dilations": dilation, "group": int(given["groups"])}
    return {key: value * 2 if isinstance(value, list) and len(value) == 1 else value for key, value in both.items()} | {
        "pads": (pads * 2 if len(pads) == 1 else pads) * 2
    }


def walk(writer: Writer, *, write_quantizer: Callable[[Writer, fx.Node], str], write_layer: Callable[[Writer, Layer], str]) -> fx.Node:
    """Write every node of the writer's network, quantizers and layers in the given way; returns the node of the scores."""
    scores: Any = None
    for node in writer.network.graph.nodes:
        if node.op == "placeholder":
            writer.outputs[node] = [writer.fresh(node.name)]
        elif node.op == "output":
            scores = node.args[0]
        elif node.target is quantize:
            writer.outputs[node] = [write_quantizer(writer, node)]
        elif operation(node) in LAYERS and (layer := layer_of(writer.network, node)) is not None:
            writer.outputs[node] = [write_layer(writer, layer)]
        elif node.op == "call_function":
            _write_operation(writer, node)
    (result,) = scores if isinstance(scores, tuple | list) else (scores,)
    assert isinstance(result, fx.Node)
    return result


def _write_operation(writer: Writer, node: fx.Node) -> None:
    """Write any other node; sizes of the batch are left to ONNX.

    Raises:
        AutocompError: if the operation has no ONNX form here.
    """
    if operation(node) == "sym_size":
        return
    if operation(node) not in EMITTERS:
        raise unsupported(node)
    name = EMITTERS[operation(node)](writer, node)
    writer.outputs.setdefault(node, [name])


def round_in_float(writer: Writer, x: str, levels: Levels, name: str) -> str:
    """A quantizer that is too wide for bytes."""
    step = writer.store(levels.step)
    scaled = writer.add("Round", [writer.add("Div", [x, step])])
    clipped = writer.add("Clip", [scaled, writer.store(float(levels.low)), writer.store(float(levels.high))])
    return writer.add("Mul", [clipped, step], name=name)


def write_float_layer(writer: Writer, layer: Layer, weight: str) -> str:
    """Conv or Gemm (MatMul where the input has more than two axes) on a weight that is written already."""
    x, name = writer.float_of(layer.input), layer.node.name
    bias = [] if layer.bias is None else [writer.store(layer.bias, layer.names("bias"))]
    if layer.is_convolution:
        return writer.add("Conv", [x, weight, *bias], name=name, **layer.attributes)
    if len(shape_of(layer.input)) == 2:
        return writer.add("Gemm", [x, weight, *bias], name=name, transB=1)
    product = writer.add("MatMul", [x, writer.add("Transpose", [weight], perm=[1, 0])])
    return writer.add("Add", [product, *bias], name=name) if bias else product
