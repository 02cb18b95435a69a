"""Building an ONNX graph: nodes and stored values with names that are free."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper
from torch import Tensor, fx

from autocomp.errors import AutocompError
from autocomp.export.quantizers import Levels, operation

OPSET, IR_VERSION = 17, 8  # of 2022: what deployed engines read
FLOAT = np.float32


class Writer:
    """An ONNX graph that grows as a network's graph is walked.

    Attributes:
        network: the graph that is walked.
        outputs: ONNX names of what a node gives, more than one for a node that gives several tensors.
        levels: of nodes whose ONNX value is integers, ``levels.low .. levels.high`` shifted by `zero_point`.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        self.network = network
        self.outputs: dict[fx.Node, list[str]] = {}
        self.levels: dict[fx.Node, Levels] = {}
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, TensorProto] = {}
        self._dequantized: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._taken: set[str] = set()

    def fresh(self, hint: str) -> str:
        """A name that is not taken yet."""
        name, number = hint, 1
        while name in self._taken:
            name, number = f"{hint}_{number}", number + 1
        self._taken.add(name)
        return name

    def add(self, op: str, inputs: Sequence[str], *, name: str | None = None, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """A node; returns the name of its output, or the common part of the names where there are several."""
        name = self.fresh(name or op.lower())
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, domain=domain, **attributes))
        return name

    def store(self, value: NDArray[Any] | float, hint: str = "constant") -> str:
        """A stored value; a plain number is a float32."""
        array = np.asarray(value, FLOAT) if isinstance(value, float) else value
        name = self.fresh(hint)
        self.stored[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return name

    def float_of(self, argument: Any) -> str:
        """The ONNX name of a node's floating-point value, or of a number."""
        if not isinstance(argument, fx.Node):
            return self.store(float(argument))
        if argument.op == "get_attr":
            return self._attribute(argument)
        (name,) = self.outputs[argument]
        return self._as_values(name, self.levels[argument]) if argument in self.levels else name

    def _as_values(self, name: str, levels: Levels) -> str:
        """Bytes as values, by plain arithmetic.

        Behind a DequantizeLinear, ONNX Runtime (seen with 1.32) rounds weights in floating point to 8 bits of its own accord.
        """
        if name not in self._values:
            centred = self.add("Sub", [self.add("Cast", [name], to=TensorProto.FLOAT), self.store(float(zero_point(levels)))])
            self._values[name] = self.add("Mul", [centred, self.store(levels.step)], name=f"{name}.value")
        return self._values[name]

    def _attribute(self, node: fx.Node) -> str:
        if node not in self.outputs:
            value: Tensor = operator.attrgetter(str(node.target))(self.network)
            self.outputs[node] = [self.store(value.detach().cpu().numpy(), str(node.target))]
        return self.outputs[node][0]

    def dequantized(self, node: fx.Node) -> str:
        """Bytes as values in the way that an engine recognises: the layer behind it is to run on the bytes."""
        (name,), levels = self.outputs[node], self.levels[node]
        if name not in self._dequantized:
            inputs = [name, self.store(levels.step), self.store(zero_point(levels))]
            self._dequantized[name] = self.add("DequantizeLinear", inputs, name=f"{name}.dequantized")
        return self._dequantized[name]

    def finish(self, scores: fx.Node, *, domains: Sequence[str] = ()) -> ModelProto:
        """The model, checked against ONNX's rules."""
        inputs = [self._info(n, n.name) for n in self.network.graph.nodes if n.op == "placeholder"]
        result = self._info(scores, self.float_of(scores))
        graph = helper.make_graph(self.nodes, "network", inputs, [result], initializer=list(self.stored.values()))
        opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="autocomp")
        checker.check_model(model, full_check=not domains)
        return model

    def _info(self, node: fx.Node, name: str) -> ValueInfoProto:
        sizes = [size if isinstance(size, int) else "batch" for size in shape_of(node)]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)


def shape_of(node: Any) -> tuple[Any, ...]:
    """Sizes of a node's value; symbols for those that depend on the batch."""
    return tuple(node.meta["val"].shape)


def zero_point(levels: Levels) -> NDArray[np.uint8]:
    """What stands for zero among the unsigned bytes that levels are stored as.

    Unsigned with a shift, not signed: engines have their fastest kernels for unsigned activations and signed weights.
    """
    return np.array(128 if levels.low < 0 else 0, np.uint8)


def is_narrow(levels: Levels) -> bool:
    """Whether the levels fit a byte."""
    shift = int(zero_point(levels))
    return levels.low + shift >= 0 and levels.high + shift <= 255


def unsupported(node: fx.Node, what: str = "") -> AutocompError:
    """The error for an operation that has no ONNX form here."""
    detail = f" with {what}" if what else ""
    name = operation(node)
    return AutocompError(
        f"ONNX export has no form for the operation '{name}'{detail} (node {node.name}); --format pt2 takes every network."
    )
