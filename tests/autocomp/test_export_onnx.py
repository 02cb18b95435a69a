"""ONNX and QONNX exports of real compressed networks, run by ONNX Runtime and by ONNX's reference evaluator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from onnx.reference import ReferenceEvaluator
from torch import Tensor, fx, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.errors import AutocompError
from autocomp.export import bake, trace_program
from autocomp.export.grids import find_grid
from autocomp.export.integer import write_integer
from autocomp.export.qonnx import DOMAIN, Quant, run_qonnx, write_qonnx
from autocomp.export.quantizers import Levels, levels_of, quantize
from autocomp.export.reading import read_program
from autocomp.export.running import open_onnx, run_onnx

from .compression.networks import NETWORKS, SHAPE, built

INTEGER_KERNELS = ("QLinearConv", "ConvInteger", "QGemm", "MatMulInteger", "MatMulIntegerToFloat")


def compressed(name: str, weight_bits: int, activation_bits: int) -> nn.Module:
    """A network with every layer quantized, or with none where both widths are 32."""
    graph = normalize(built(name), SHAPE)
    assert graph is not None
    layers = [n for n, m in graph.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    choice = Choice(weight_bits=weight_bits, activation_bits=activation_bits)
    student = compress(graph, Configuration(dict.fromkeys(layers, choice)), default_methods(channel_map(graph, SHAPE)))
    torch.manual_seed(0)
    calibrate(student, torch.randn(32, *SHAPE))
    return student.eval()


def graph_of(network: nn.Module, shape: tuple[int, ...] = SHAPE) -> fx.GraphModule:
    return read_program(trace_program(bake(network), shape))


def images(count: int = 16) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def scores(network: nn.Module, x: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with torch.inference_mode():
        return network(x).numpy()  # type: ignore[no-any-return]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_floating_point_gives_the_same_scores_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    network = compressed(name, 32, 32)
    model, _ = write_integer(graph_of(network))
    np.testing.assert_allclose(run_onnx(saved(model, tmp_path), images().numpy()), scores(network, images()), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_of_eight_bits_runs_on_an_integer_kernel(name: str, tmp_path: Path) -> None:
    network = compressed(name, 8, 8)
    model, counts = write_integer(graph_of(network))
    path, optimized = saved(model, tmp_path), tmp_path / "optimized.onnx"
    open_onnx(path, threads=1, optimized=optimized)
    kernels = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    assert counts.float == 0
    assert sum(kernels[kind] for kind in INTEGER_KERNELS) == counts.integer
    assert not any(kernels[kind] for kind in ("Conv", "Gemm", "MatMul", "FusedConv", "FusedGemm"))
    wanted, found = scores(network, images()), run_onnx(path, images().numpy())
    assert np.abs(found - wanted).max() <= np.ptp(wanted) / 255  # one 8-bit step of the scores
    assert np.median(np.abs(found - wanted)) <= 1e-4


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 4), (2, 3), (8, 12), (16, 8), (8, 32), (32, 8)])
@pytest.mark.parametrize("name", ["option_a", "depthwise", "flattened"])
def test_every_mixture_of_widths_is_the_same_network_up_to_ties(name: str, weight_bits: int, activation_bits: int, tmp_path: Path) -> None:
    network = compressed(name, weight_bits, activation_bits)
    model, _ = write_integer(graph_of(network), exact=True)
    found, wanted = run_onnx(saved(model, tmp_path), images().numpy()), scores(network, images())
    assert np.median(np.abs(found - wanted)) <= 1e-5


def test_any_batch_size_will_do(tmp_path: Path) -> None:
    network = compressed("shuffled", 8, 8)
    path = saved(write_integer(graph_of(network))[0], tmp_path)
    assert [run_onnx(path, images(n).numpy()).shape for n in (1, 2, 5)] == [(1, 10), (2, 10), (5, 10)]


def test_weights_on_a_grid_of_eight_bits_or_fewer_take_one_byte_each() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 64, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.randint(-7, 8, (64, 192)) * 0.03)  # type: ignore[operator]
    model, _ = write_integer(graph_of(network))
    stored = {tensor.data_type: len(tensor.raw_data) for tensor in model.graph.initializer if "weight" in tensor.name}
    assert stored == {onnx.TensorProto.INT8: 64 * 192}


@pytest.mark.parametrize("widths", [(8, 8), (4, 4), (2, 3), (3, 16), (32, 5)])
@pytest.mark.parametrize("name", ["option_a", "grouped", "flattened", "shuffled"])
def test_qonnx_says_of_every_width_what_the_network_computes(name: str, widths: tuple[int, int]) -> None:
    network = compressed(name, *widths)
    model, _ = write_qonnx(graph_of(network))
    found = run_qonnx(onnx.load_from_string(model.SerializeToString()), images(4).numpy())
    assert np.median(np.abs(found - scores(network, images(4)))) <= 1e-5


def test_quant_nodes_carry_widths_and_signs() -> None:
    model, _ = write_qonnx(graph_of(compressed("squeeze_excite", 4, 6)))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    quants = [node for node in model.graph.node if node.op_type == "Quant"]
    assert {node.domain for node in quants} == {DOMAIN}
    of_weights = [node for node in quants if "weight" in node.name]
    assert len(of_weights) == 5
    assert all(float(stored[node.input[3]]) <= 4 for node in of_weights)
    assert {float(stored[node.input[3]]) for node in quants if node not in of_weights} == {6.0}


QUANT = parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 17, "qonnx.custom_op.general" : 1]>
    network (float[n] x) => (float[n] y) <float s = {0.5}, float z = {0}, float b = {3}>
    { y = qonnx.custom_op.general.Quant <signed = 1, narrow = 1, rounding_mode = "ROUND"> (x, s, z, b) }"""
)


def test_the_reference_operator_rounds_as_its_specification_says() -> None:
    # 3 bits, signed and narrow: -3 .. 3, steps of 0.5; 0.75 / 0.5 = 1.5 goes to the even 2
    x = np.array([-9, -0.6, 0.2, 0.75, 1.4, 9], np.float32)
    (found,) = ReferenceEvaluator(QUANT, new_ops=[Quant]).run(None, {"x": x})
    np.testing.assert_array_equal(found, np.array([-1.5, -0.5, 0, 1, 1.5, 1.5], np.float32))


def test_a_grid_is_found_from_values_alone() -> None:
    weight = np.array([[0.5, -1.5, 0, 1.0], [0.3, 0.6, -0.9, 0.3]], np.float32)
    grid = find_grid(weight, 8)
    assert grid is not None
    np.testing.assert_array_equal(grid.integers, [[1, -3, 0, 2], [1, 2, -3, 1]])
    np.testing.assert_allclose(grid.step, [0.5, 0.3], rtol=1e-6)
    assert grid.bits == 3  # -3 .. 3
    finer = grid.stretched()
    np.testing.assert_allclose(finer.integers * finer.step[:, None], weight, rtol=1e-6)
    assert np.abs(finer.integers).max() == 63


def test_values_that_are_on_no_grid_stay_as_they_are() -> None:
    assert find_grid(np.random.default_rng(0).standard_normal((2, 9)).astype(np.float32), 16) is None
    assert find_grid(np.array([[1.0, np.sqrt(2)]], np.float32), 8) is None


class HalfWave(nn.Module):
    """A quantizer that clips before it scales, unlike autocomp's."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.round(torch.clamp(x, 0, 1) * 15) / 15


def test_a_quantizer_is_recognised_whoever_wrote_it() -> None:
    graph = graph_of(HalfWave())
    (node,) = [n for n in graph.graph.nodes if n.target is quantize]
    levels = levels_of(node)
    assert (levels.low, levels.high) == (0, 15)
    assert levels.step == pytest.approx(1 / 15)
    np.testing.assert_allclose(scores(graph, images()), scores(HalfWave(), images()), atol=1e-6)


def test_clipping_before_a_quantizer_only_takes_levels_away() -> None:
    # steps of 0.5: a clip to [-0.3, 6] leaves -1 .. 12 of -127 .. 127, because -0.3 / 0.5 = -0.6 rounds to -1
    assert Levels(0.5, -127, 127).clipped(-0.3, 6) == Levels(0.5, -1, 12)


class Inverse(nn.Module):
    """Takes an operation that ONNX has no word for."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = torch.special.i0(x)
        return y


def test_an_operation_without_a_form_is_named() -> None:
    with pytest.raises(AutocompError, match="no form for the operation 'special_i0'"):
        write_integer(graph_of(Inverse()))
