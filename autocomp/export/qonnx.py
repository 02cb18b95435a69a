"""QONNX: quantizers of any width as ``Quant`` nodes, weights and activations alike, for tools that build hardware from them.

The operator (Pappalardo 2022, "QONNX: Representing Arbitrary-Precision Quantized Neural Networks") rounds to
``scale * {low .. high}`` with ``low .. high`` from its bit width: ``0 .. 2^b - 1``, or ``-(2^(b-1) - 1) .. 2^(b-1) - 1`` where it
is signed and narrow. Layers and batch norms stay as the network has them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import fx

from autocomp.export.grids import find_grid
from autocomp.export.layers import Counts, Layer, walk, write_float_layer
from autocomp.export.quantizers import levels_of, merge
from autocomp.export.writing import FLOAT, Writer

DOMAIN = "qonnx.custom_op.general"


def write_qonnx(network: fx.GraphModule) -> tuple[ModelProto, Counts]:
    """The QONNX model of a network that `read_program` gave; changes the network's graph."""
    merge(network)
    writer, counts = Writer(network), Counts()
    scores = walk(writer, write_quantizer=_activation, write_layer=partial(_layer, counts=counts))
    return writer.finish(scores, domains=[DOMAIN]), counts


def _quant(writer: Writer, x: str, step: NDArray[np.float32], bits: int, *, signed: bool, name: str) -> str:
    inputs = [x, writer.store(step), writer.store(0.0), writer.store(float(bits))]
    return writer.add("Quant", inputs, name=name, domain=DOMAIN, signed=int(signed), narrow=int(signed), rounding_mode="ROUND")


def _activation(writer: Writer, node: fx.Node) -> str:
    levels = levels_of(node)
    x, step, signed = writer.float_of(node.args[0]), np.array(levels.step, FLOAT), levels.low < 0
    largest = max(levels.high, -levels.low)
    bits = largest.bit_length() + signed
    bounds = (-(2 ** (bits - 1) - 1) if signed else 0, 2 ** (bits - signed) - 1)
    if (levels.low, levels.high) != bounds:
        x = writer.add("Clip", [x, *(writer.store(float(step * limit)) for limit in (levels.low, levels.high))])
    return _quant(writer, x, step, bits, signed=bool(signed), name=node.name)


def _layer(writer: Writer, layer: Layer, *, counts: Counts) -> str:
    weight, grid = writer.store(layer.weight, layer.names("weight")), find_grid(layer.weight)
    if grid is None:
        counts.float += 1
    else:
        counts.integer += 1
        step = grid.step.astype(FLOAT).reshape(-1, *[1] * (layer.weight.ndim - 1))
        weight = _quant(writer, weight, step, grid.bits, signed=True, name=layer.names("weight.quantized"))
    return write_float_layer(writer, layer, weight)


class Quant(OpRun):
    """The operator as its specification words it, for ONNX's reference evaluator."""

    op_domain = DOMAIN

    def _run(
        self, x: Any, scale: Any, zeropt: Any, bitwidth: Any, signed: int = 1, narrow: int = 0, rounding_mode: str = "ROUND"
    ) -> tuple[NDArray[np.float32]]:
        if rounding_mode != "ROUND":
            raise NotImplementedError(rounding_mode)
        low = -(2 ** (bitwidth - signed)) + narrow if signed else 0
        high = 2 ** (bitwidth - signed) - 1 - (narrow if not signed else 0)
        whole = np.rint(np.clip(x / scale + zeropt, low, high))
        return (((whole - zeropt) * scale).astype(FLOAT),)


def run_qonnx(model: ModelProto, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of a QONNX model, computed operator by operator in numpy; slow, and independent of every engine."""
    evaluator = ReferenceEvaluator(model, new_ops=[Quant])
    (scores,) = evaluator.run(None, {model.graph.input[0].name: images})
    return np.asarray(scores, FLOAT)
