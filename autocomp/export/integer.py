"""ONNX with integer layers: 8-bit and narrower layers run on bytes, everything else stays in floating point.

A layer whose input is quantized and whose weights lie on a grid of at most 8 bits is written in one of two forms.

- Where all that follows is one quantizer: ``DequantizeLinear -> Conv -> QuantizeLinear`` (QDQ), which an engine fuses into one
  integer kernel (QLinearConv, QGemm). Linear layers take this form always: an engine runs them on integers with floating-point
  results, too.
- Where a convolution's result is needed as it is (a shortcut adds to it): ``ConvInteger``, and its 32-bit sums times the steps.
  Another rounding, which the QDQ form would need here, is not in the network that was trained.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from torch import fx

from autocomp.export.grids import Grid, find_grid
from autocomp.export.layers import Counts, Layer, round_in_float, walk, write_float_layer
from autocomp.export.operators import moves
from autocomp.export.quantizers import Levels, hoist, levels_of, quantize
from autocomp.export.reading import fold_batch_norms
from autocomp.export.writing import FLOAT, Writer, is_narrow, shape_of, zero_point

BITS = 8
_LARGEST = 2**31 - 1


def write_integer(network: fx.GraphModule, *, exact: bool = False) -> tuple[ModelProto, Counts]:
    """The ONNX model of a network that `read_program` gave; changes the network's graph.

    Args:
        network: the graph.
        exact: write every layer with integer sums. QDQ counts a bias in whole units of ``weight step x input step``; where
            these are coarse (narrow activations) results change by a step more often than rounding alone would change them.
    """
    fold_batch_norms(network)
    hoist(network, moves)
    writer, counts = Writer(network), Counts()
    scores = walk(writer, write_quantizer=_quantize, write_layer=partial(_layer, counts=counts, exact=exact))
    return writer.finish(scores), counts


def _quantize(writer: Writer, node: fx.Node) -> str:
    x, levels, name = writer.float_of(node.args[0]), levels_of(node), node.name
    if not is_narrow(levels):
        return round_in_float(writer, x, levels, name)
    writer.levels[node] = levels
    shift = int(zero_point(levels))
    low, high = levels.low + shift, levels.high + shift
    given = [x, writer.store(levels.step), writer.store(zero_point(levels))]
    if (low, high) == (0, 255):  # where a byte ends by itself
        return writer.add("QuantizeLinear", given, name=name)
    bounds = [writer.store(np.array(v, np.uint8)) for v in (low, high)]
    return writer.add("Clip", [writer.add("QuantizeLinear", given, name=f"{name}.byte"), *bounds], name=name)


def _layer(writer: Writer, layer: Layer, *, counts: Counts, exact: bool) -> str:
    grid = find_grid(layer.weight, BITS)
    grid = grid and grid.stretched()
    levels = writer.levels.get(layer.input)
    if grid is None or levels is None or len(shape_of(layer.input)) != (4 if layer.is_convolution else 2):
        counts.float += 1
        return _float_layer(writer, layer, grid)
    counts.integer += 1
    bias = _integer_bias(layer, grid, levels)
    if bias is None or exact or (layer.is_convolution and not _is_rounded(layer.node)):
        return _with_integer_sums(writer, layer, grid, levels)
    return _between_quantizers(writer, layer, grid, bias)


def _is_rounded(node: fx.Node) -> bool:
    """Whether a node's only use is a quantizer for bytes."""
    return len(node.users) == 1 and all(u.target is quantize and is_narrow(levels_of(u)) for u in node.users)


def _integer_bias(layer: Layer, grid: Grid, levels: Levels) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
    """The bias in units of ``weight step x input step``, and these; None where 32 bits cannot hold it."""
    unit = (grid.step * levels.step).astype(FLOAT)
    bias = np.zeros(len(unit)) if layer.bias is None else layer.bias.astype(np.float64)
    scaled = np.rint(np.divide(bias, unit, out=np.full(len(unit), np.inf), where=unit > 0))
    return None if (np.abs(scaled) > _LARGEST).any() else (scaled.astype(np.int32), unit)


def _between_quantizers(writer: Writer, layer: Layer, grid: Grid, bias: tuple[NDArray[np.int32], NDArray[np.float32]]) -> str:
    """QDQ: what an engine fuses with the quantizers around it."""
    zeros = np.zeros(len(grid.step), np.int8)
    weight = [
        writer.store(grid.integers.astype(np.int8), layer.names("weight")),
        writer.store(grid.step.astype(FLOAT)),
        writer.store(zeros),
    ]
    shift = [writer.store(bias[0], layer.names("bias")), writer.store(bias[1]), writer.store(zeros.astype(np.int32))]
    parts = [writer.add("DequantizeLinear", part, name=f"{part[0]}.value", axis=0) for part in (weight, shift)]
    if layer.is_convolution:
        return writer.add("Conv", [writer.dequantized(layer.input), *parts], name=layer.node.name, **layer.attributes)
    return writer.add("Gemm", [writer.dequantized(layer.input), *parts], name=layer.node.name, transB=1)


def _with_integer_sums(writer: Writer, layer: Layer, grid: Grid, levels: Levels) -> str:
    """Exact 32-bit sums, and floating point from there on."""
    integers = grid.integers.astype(np.int8)
    weight = writer.store(integers if layer.is_convolution else integers.T, layer.names("weight"))
    inputs = [writer.outputs[layer.input][0], weight, writer.store(zero_point(levels)), writer.store(np.array(0, np.int8))]
    op = "ConvInteger" if layer.is_convolution else "MatMulInteger"
    sums = writer.add("Cast", [writer.add(op, inputs, name=layer.names("sums"), **layer.attributes)], to=1)
    shape = (1, -1, 1, 1) if layer.is_convolution else (1, -1)
    unit = (grid.step * levels.step).astype(FLOAT).reshape(shape)
    last = layer.node.name
    if layer.bias is None:
        return writer.add("Mul", [sums, writer.store(unit)], name=last)
    return writer.add("Add", [writer.add("Mul", [sums, writer.store(unit)]), writer.store(layer.bias.reshape(shape))], name=last)


def _float_layer(writer: Writer, layer: Layer, grid: Grid | None) -> str:
    """A layer in floating point; weights on a grid are stored as bytes all the same, which engines expand when they load."""
    if grid is None:
        weight = writer.store(layer.weight, layer.names("weight"))
    else:
        step = grid.step.astype(FLOAT).reshape(-1, *[1] * (layer.weight.ndim - 1))
        integers = writer.add("Cast", [writer.store(grid.integers.astype(np.int8), layer.names("weight"))], to=1)
        weight = writer.add("Mul", [integers, writer.store(step)])
    return write_float_layer(writer, layer, weight)
