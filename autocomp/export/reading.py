"""A program as a graph that is easy to write in another form: no constants left to compute, quantizers as one node each."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, fx

from autocomp.errors import AutocompError
from autocomp.export.quantizers import arguments, constant_of, finish, operation, recognise

_UNCHANGED = {"detach", "alias", "lift_fresh_copy", "_to_copy", "to", "_assert_tensor_metadata"}
NORM = "_native_batch_norm_legit_no_training"
LAYERS = ("conv2d", "linear")


def read_program(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The program's network as an ATen graph without in-place operations, its quantizers as `quantize` nodes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch about torch
        network: Any = program.run_decompositions({}).module(check_guards=False)
    _drop_unchanged(network)
    _compute_constants(network)
    recognise(network)
    assert isinstance(network, fx.GraphModule)
    return network


def _drop_unchanged(network: fx.GraphModule) -> None:
    for node in list(network.graph.nodes):
        keeps = operation(node) in _UNCHANGED and node.op == "call_function"
        if keeps and isinstance(node.args[0], fx.Node) and _type_of(node) == _type_of(node.args[0]):
            node.replace_all_uses_with(node.args[0])
    finish(network)


def _type_of(node: fx.Node) -> torch.dtype | None:
    value = node.meta.get("val")
    return value.dtype if isinstance(value, Tensor) else None


def _compute_constants(network: fx.GraphModule) -> None:
    """Carry out what depends on no input, such as the exponential of a step's logarithm."""
    for node in list(network.graph.nodes):
        if node.op != "call_function" or not all(constant_of(network, a) is not None for a in node.all_input_nodes):
            continue
        given = fx.map_arg((node.args, node.kwargs), lambda a: constant_of(network, a))
        result = node.target(*given[0], **given[1])
        if isinstance(result, Tensor):
            _replace_by_constant(network, node, result)
    finish(network)


def _replace_by_constant(network: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
    with network.graph.inserting_before(node):
        new = _constant(network, node.name, value)
    new.meta["val"] = node.meta.get("val")
    node.replace_all_uses_with(new)
    network.graph.erase_node(node)


def _constant(network: fx.GraphModule, name: str, value: Tensor) -> fx.Node:
    """A node for a value that is stored in the network under a name of its own."""
    network.register_buffer(f"constant_{name}", value)
    return network.graph.get_attr(f"constant_{name}")


def fold_batch_norms(network: fx.GraphModule) -> None:
    """Put every batch norm that follows a layer, and is alone in doing so, into the layer's weights and bias.

    A filter on a grid stays on one: only its step changes.
    """
    for norm in [n for n in network.graph.nodes if operation(n) == NORM]:
        layer: Any = norm.args[0]
        if operation(layer) not in LAYERS or len(layer.users) != 1 or len(norm.users) != 1:
            continue
        given = arguments(layer)
        weight, bias = (constant_of(network, given[key]) for key in ("weight", "bias"))
        if weight is None or (bias is None and given["bias"] is not None):
            continue
        scale, shift = norm_as_line(network, norm)
        folded = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        with network.graph.inserting_before(layer):
            parts = [_constant(network, f"{layer.name}_{kind}", value) for kind, value in _named(folded, shift, bias, scale)]
        layer.args = (layer.args[0], *parts, *layer.args[3:])
        layer.kwargs = {key: value for key, value in layer.kwargs.items() if key not in ("weight", "bias")}
        next(iter(norm.users)).replace_all_uses_with(layer)
    finish(network)


def _named(weight: Tensor, shift: Tensor, bias: Tensor | None, scale: Tensor) -> list[tuple[str, Tensor]]:
    return [("weight", weight), ("bias", shift if bias is None else shift + bias * scale)]


def norm_as_line(network: fx.GraphModule, norm: fx.Node) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation mode as ``scale * x + shift``, per channel."""
    given = arguments(norm)
    gamma, beta, mean, variance = (constant_of(network, given[key]) for key in ("weight", "bias", "running_mean", "running_var"))
    if mean is None or variance is None:
        raise unreadable(norm)
    scale = torch.rsqrt(variance + given["eps"])
    scale = scale if gamma is None else gamma * scale
    shift = -mean * scale
    return scale, shift if beta is None else shift + beta


def unreadable(node: fx.Node) -> AutocompError:
    """The error for a network that computes its own statistics as it runs."""
    return AutocompError(f"ONNX export needs batch norms whose mean and variance are stored, but {node.name} has none.")
