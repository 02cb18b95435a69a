"""Every operation but the layers and quantizers: from ATen to ONNX."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import fx

from autocomp.export.quantizers import arguments, operation
from autocomp.export.reading import NORM
from autocomp.export.writing import FLOAT, Writer, shape_of, unsupported

Emitter = Callable[[Writer, fx.Node], str]

_UNARY = {
    **{"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "abs": "Abs", "neg": "Neg"},
    **{"round": "Round", "floor": "Floor", "ceil": "Ceil", "sign": "Sign", "erf": "Erf", "reciprocal": "Reciprocal"},
    **{"hardswish": "HardSwish", "relu6": "Clip", "hardtanh": "Clip", "clamp": "Clip"},
}
_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "pow": "Pow", "matmul": "MatMul"}
_RESHAPES = {"view", "reshape", "flatten", "unsqueeze", "squeeze", "_unsafe_view"}
_COPIES = {"clone", "contiguous"}
_MOVES = {"max_pool2d", *_RESHAPES, *_COPIES}


def moves(node: fx.Node) -> bool:
    """Whether a node only moves values or picks the largest, so that it works on integers alike."""
    return operation(node) in _MOVES


def _carry(writer: Writer, node: fx.Node, op: str, *more: str, **attributes: Any) -> str:
    """An operation that works on integers as well: integers in, integers out."""
    source: Any = node.args[0]
    if source in writer.levels and moves(node):
        writer.levels[node] = writer.levels[source]
        return writer.add(op, [writer.outputs[source][0], *more], name=node.name, **attributes)
    return writer.add(op, [writer.float_of(source), *more], name=node.name, **attributes)


def _unary(writer: Writer, node: fx.Node) -> str:
    name = operation(node)
    limits: dict[str, tuple[Any, Any]] = {"relu6": (0.0, 6.0)}
    if name in ("hardtanh", "clamp"):
        given = arguments(node)
        limits[name] = (given["min_val"], given["max_val"]) if name == "hardtanh" else (given["min"], given["max"])
    bounds = ["" if limit is None else writer.float_of(limit) for limit in limits.get(name, ())]
    return writer.add(_UNARY[name], [writer.float_of(node.args[0]), *bounds], name=node.name)


def _binary(writer: Writer, node: fx.Node) -> str:
    given = arguments(node)
    if given.get("alpha", 1) != 1 or given.get("rounding_mode") is not None:
        raise unsupported(node, "a factor or a rounding mode")
    return writer.add(_BINARY[operation(node)], [writer.float_of(a) for a in node.args[:2]], name=node.name)


def _curve(writer: Writer, node: fx.Node) -> str:
    given, x, name = arguments(node), writer.float_of(node.args[0]), operation(node)
    if name == "leaky_relu":
        return writer.add("LeakyRelu", [x], name=node.name, alpha=float(given["negative_slope"]))
    if name == "elu":
        return writer.add("Elu", [x], name=node.name, alpha=float(given["alpha"]))
    if name == "hardsigmoid":
        return writer.add("HardSigmoid", [x], name=node.name, alpha=1 / 6, beta=0.5)
    if name == "silu":
        return writer.add("Mul", [x, writer.add("Sigmoid", [x])], name=node.name)
    if given["approximate"] != "none":
        raise unsupported(node, "an approximation")
    inner = writer.add("Erf", [writer.add("Mul", [x, writer.store(math.sqrt(0.5))])])
    half = writer.add("Mul", [x, writer.store(0.5)])
    return writer.add("Mul", [half, writer.add("Add", [inner, writer.store(1.0)])], name=node.name)


def _softmax(writer: Writer, node: fx.Node) -> str:
    return writer.add("Softmax", [writer.float_of(node.args[0])], name=node.name, axis=arguments(node)["dim"])


def _pair(value: Any) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return [int(v) for v in values * (2 if len(values) == 1 else 1)]


def _window(node: fx.Node) -> tuple[dict[str, Any], bool]:
    """Kernel, strides and padding of a pooling, and whether rounding up adds pixels at its far end."""
    given = arguments(node)
    kernel, padding, dilation = (_pair(given.get(key, 1)) for key in ("kernel_size", "padding", "dilation"))
    stride = _pair(given["stride"] or kernel)
    sizes = zip(shape_of(node.args[0])[-2:], shape_of(node)[-2:], kernel, stride, padding, dilation, strict=True)
    ends = [max((out - 1) * s + d * (k - 1) + 1 - size - p, p) for size, out, k, s, p, d in sizes]
    return {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *ends]}, ends != padding


def _max_pool(writer: Writer, node: fx.Node) -> str:
    return _carry(writer, node, "MaxPool", dilations=_pair(arguments(node)["dilation"]), **_window(node)[0])


def _average_pool(writer: Writer, node: fx.Node) -> str:
    given, (window, is_longer) = arguments(node), _window(node)
    pads = any(_pair(given["padding"]))
    if given["divisor_override"] is not None or (is_longer and pads):
        raise unsupported(node, "a divisor of its own, or padding and ceil_mode together")
    counts = int(given["count_include_pad"] and pads)
    return writer.add("AveragePool", [writer.float_of(node.args[0])], name=node.name, count_include_pad=counts, **window)


def _adaptive_pool(writer: Writer, node: fx.Node) -> str:
    kind = "Average" if "avg" in operation(node) else "Max"
    x = writer.float_of(node.args[0])
    before, after = (shape_of(n)[-2:] for n in (node.args[0], node))
    if after == (1, 1):
        return writer.add(f"Global{kind}Pool", [x], name=node.name)
    if any(b % a for b, a in zip(before, after, strict=True)):
        raise unsupported(node, f"{before[0]} x {before[1]} pixels for {after[0]} x {after[1]}")
    kernel = [b // a for b, a in zip(before, after, strict=True)]
    return writer.add(f"{kind}Pool", [x], name=node.name, kernel_shape=kernel, strides=kernel)


def _reduce(writer: Writer, node: fx.Node) -> str:
    given, x = arguments(node), writer.float_of(node.args[0])
    axes, keep = [int(a) for a in given["dim"]], int(given["keepdim"])
    if operation(node) == "mean":
        return writer.add("ReduceMean", [x], name=node.name, axes=axes, keepdims=keep)
    return writer.add("ReduceSum", [x, writer.store(np.array(axes, np.int64))], name=node.name, keepdims=keep)


def _target_shape(node: fx.Node) -> list[int]:
    """Sizes for ONNX's Reshape, where 0 copies the size in its place and -1 is whatever is left."""
    before, after = shape_of(node.args[0]), shape_of(node)
    return [s if isinstance(s, int) else 0 if i == 0 and str(s) == str(before[0]) else -1 for i, s in enumerate(after)]


def _reshape(writer: Writer, node: fx.Node) -> str:
    return _carry(writer, node, "Reshape", writer.store(np.array(_target_shape(node), np.int64)))


def _copy(writer: Writer, node: fx.Node) -> str:
    return _carry(writer, node, "Identity")


def _permute(writer: Writer, node: fx.Node) -> str:
    given, order = arguments(node), list(range(len(shape_of(node))))
    if operation(node) == "permute":
        order = [int(d) % len(order) for d in given["dims"]]
    else:
        a, b = (0, 1) if operation(node) == "t" else (given["dim0"], given["dim1"])
        order[a], order[b] = order[b], order[a]
    return writer.add("Transpose", [writer.float_of(node.args[0])], name=node.name, perm=order)


def _concatenate(writer: Writer, node: fx.Node) -> str:
    given = arguments(node)
    return writer.add("Concat", [writer.float_of(a) for a in given["tensors"]], name=node.name, axis=given["dim"])


def _split(writer: Writer, node: fx.Node) -> str:
    axis = arguments(node)["dim"]
    sizes = [int(part.shape[axis]) for part in node.meta["val"]]
    x, lengths = writer.float_of(node.args[0]), writer.store(np.array(sizes, np.int64))
    name = writer.add("Split", [x, lengths], name=node.name, outputs=len(sizes), axis=axis)
    writer.outputs[node] = [name] if len(sizes) == 1 else [f"{name}.{i}" for i in range(len(sizes))]
    return name


def _pick(writer: Writer, node: fx.Node) -> str:
    """One of several results."""
    source, index = node.args
    return writer.outputs[source][index]  # type: ignore[index]


def _slice(writer: Writer, node: fx.Node) -> str:
    given = arguments(node)
    ends = (given["start"] or 0, min(given["end"], 2**31) if given["end"] is not None else 2**31)
    bounds = [writer.store(np.array([v], np.int64)) for v in (*ends, given["dim"], given["step"])]
    return writer.add("Slice", [writer.float_of(node.args[0]), *bounds], name=node.name)


def _gather(writer: Writer, node: fx.Node) -> str:
    given = arguments(node)
    index = given["index"]
    chosen = writer.store(np.array(index, np.int64)) if isinstance(index, int) else writer.float_of(index)
    return writer.add("Gather", [writer.float_of(node.args[0]), chosen], name=node.name, axis=given["dim"])


def _pad(writer: Writer, node: fx.Node) -> str:
    given = arguments(node)
    mode = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}.get(given.get("mode", "constant"))
    if mode is None:
        raise unsupported(node, f"mode {given['mode']}")
    pad, rank = [int(p) for p in given["pad"]], len(shape_of(node))
    begins, ends = [0] * rank, [0] * rank
    for axis in range(len(pad) // 2):  # torch counts from the last axis
        begins[rank - 1 - axis], ends[rank - 1 - axis] = pad[2 * axis], pad[2 * axis + 1]
    inputs = [writer.float_of(node.args[0]), writer.store(np.array(begins + ends, np.int64))]
    inputs += [writer.store(float(given["value"] or 0))] if mode == "constant" else []
    return writer.add("Pad", inputs, name=node.name, mode=mode)


def _expand(writer: Writer, node: fx.Node) -> str:
    sizes = [s if isinstance(s, int) else 1 for s in shape_of(node)]  # one broadcasts to whatever is there
    return writer.add("Expand", [writer.float_of(node.args[0]), writer.store(np.array(sizes, np.int64))], name=node.name)


def _norm(writer: Writer, node: fx.Node) -> str:
    channels = shape_of(node.args[0])[1]
    defaults = (np.ones(channels, FLOAT), np.zeros(channels, FLOAT))
    affine = [writer.store(d) if a is None else writer.float_of(a) for a, d in zip(node.args[1:3], defaults, strict=True)]
    inputs = [writer.float_of(node.args[0]), *affine, *(writer.float_of(a) for a in node.args[3:5])]
    return writer.add("BatchNormalization", inputs, name=node.name, epsilon=float(node.args[6]))  # type: ignore[arg-type]


def _table(*groups: tuple[Sequence[str], Emitter]) -> dict[str, Emitter]:
    return {name: emitter for names, emitter in groups for name in names}


EMITTERS: Mapping[str, Emitter] = _table(
    (list(_UNARY), _unary),
    (list(_BINARY), _binary),
    (("leaky_relu", "elu", "hardsigmoid", "silu", "gelu"), _curve),
    (("softmax",), _softmax),
    (("max_pool2d",), _max_pool),
    (("avg_pool2d",), _average_pool),
    (("adaptive_avg_pool2d", "adaptive_max_pool2d"), _adaptive_pool),
    (("mean", "sum"), _reduce),
    (sorted(_RESHAPES), _reshape),
    (sorted(_COPIES), _copy),
    (("permute", "transpose", "t"), _permute),
    (("cat",), _concatenate),
    (("chunk", "split", "split_with_sizes"), _split),
    ((operator.getitem.__name__,), _pick),
    (("slice",), _slice),
    (("index_select", "select"), _gather),
    (("pad", "constant_pad_nd"), _pad),
    (("expand",), _expand),
    ((NORM,), _norm),
)
"""By the name of the ATen operation."""
