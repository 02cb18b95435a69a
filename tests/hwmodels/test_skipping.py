from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hwmodels import Op, Pattern, Workload, load_device
from hwmodels.networks import load_network, select
from hwmodels.sparse import SparseAccelerator
from hwmodels.workload import Ints


def device(name: str, **parameters: object) -> SparseAccelerator:
    """A shipped device, some keys replaced."""
    model = load_device(name, parameters)
    assert isinstance(model, SparseAccelerator)
    return model


def conv(**changes: object) -> Workload:
    """64 -> 32 channels, 3x3, 8x8 pixels, 16 bit: m 64, k 576, n 32."""
    fields: dict[str, object] = {"in_channels": [64], "out_channels": [32], "kernel_h": [3], "kernel_w": [3]}
    fields |= {"in_h": [8], "in_w": [8], "out_h": [8], "out_w": [8], "weight_bits": [16], "activation_bits": [16]}
    return Workload(names=("conv",), **(fields | changes))  # type: ignore[arg-type]


def linear(inputs: int, outputs: int, weight_density: float, activation_density: float, pattern: Pattern = Pattern.FINE) -> Workload:
    """A layer compressed as EIE wants it: 4-bit codebook indices."""
    fields: dict[str, object] = {"op": [Op.LINEAR], "in_channels": [inputs], "out_channels": [outputs], "codebook": [16]}
    fields |= {"weight_bits": [4], "activation_bits": [16], "pattern": [pattern]}
    densities = {"weight_density": [weight_density], "activation_density": [activation_density]}
    return Workload(names=("fc",), **(fields | densities))  # type: ignore[arg-type]


def fifo_cycles(inputs: int, outputs: int, weights: float, activations: float, *, pes: int = 64, depth: int = 8) -> float:
    """EIE column by column: a non-zero activation is broadcast each cycle unless a queue of ``depth`` is full somewhere."""
    rng = np.random.default_rng(0)
    columns, rows = round(inputs * activations), outputs // pes + (np.arange(pes) < outputs % pes)
    kept = (rng.random((columns, pes, max(rows))) < weights) & (np.arange(max(rows)) < rows[:, None])
    service = np.maximum(_entries(kept.reshape(columns * pes, -1)).reshape(columns, pes), 1)
    started, free, broadcast = np.zeros((columns, pes)), np.zeros(pes), 0.0
    for column in range(columns):
        broadcast = max(broadcast + 1, started[column - depth].max() if column >= depth else 0.0)
        started[column] = np.maximum(free, broadcast)
        free = started[column] + service[column]
    return float(free.max())


def _entries(kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Non-zeros of each column, and the zeros that are stored because sixteen of them precede a non-zero."""
    column, place = np.nonzero(kept)
    first = np.diff(column, prepend=-1) > 0
    gaps = place - np.where(first, -1, np.roll(place, 1)) - 1
    return np.bincount(column, weights=1 + gaps // 16, minlength=len(kept)).astype(np.int64)


@pytest.mark.parametrize(
    ("inputs", "outputs", "weights", "activations"),
    [(1000, 1000, 0.25, 0.375), (10_000, 4096, 0.04, 0.183), (1000, 600, 0.1, 1.0), (600, 2400, 0.1, 1.0)],
)
def test_eie_meets_a_simulation_of_its_queues(inputs: int, outputs: int, weights: float, activations: float) -> None:
    # 600 rows on 64 elements are 9.4 each, of which 0.94 are not zero: a third of the columns hold nothing and still take a cycle
    modelled = device("eie").estimate(linear(inputs, outputs, weights, activations)).cycles[0]
    assert modelled == pytest.approx(fifo_cycles(inputs, outputs, weights, activations), rel=0.04)


@pytest.mark.parametrize(
    ("layer", "published_us"),
    [
        ("Alex-6", 30.3),
        ("Alex-7", 12.2),
        ("Alex-8", 9.9),
        ("VGG-7", 8.7),
        ("VGG-8", 7.5),
        ("NT-We", 8.4),
        ("NT-Wd", 13.9),
        ("NT-LSTM", 7.5),
    ],
)
def test_eie_latency_meets_the_paper(layer: str, published_us: float) -> None:
    # Han et al., ISCA 2016, Table IV (recalled). The real layers' zeros are not random, and densities are printed in whole percent:
    # 20 % leaves room for that.
    report = device("eie").estimate(select(load_network("eie_fc"), [layer]))
    assert report.total_latency_s * 1e6 == pytest.approx(published_us, rel=0.2)


def test_eie_power_meets_the_paper() -> None:
    # 0.59 W of chip power; DRAM is outside. The registers' energy was derived from the power of one PE, so 20 % is a check of the sum.
    report = device("eie").estimate(linear(9216, 4096, 0.09, 0.351))
    power_w = (report.total_energy_j - report.energy_parts_j["dram"].sum()) / report.total_latency_s
    assert power_w == pytest.approx(0.59, rel=0.2)


def test_balanced_rows_make_nobody_wait() -> None:
    # 1000 broadcasts of 0.25 * 16 entries in each element; two zeros of each column of 16 never need padding
    fine, group = (device("eie").estimate(linear(1000, 1024, 0.25, 1.0, pattern)).cycles[0] for pattern in (Pattern.FINE, Pattern.GROUP))
    assert group == pytest.approx(4000)
    assert fine > 1.05 * group


def test_a_dense_layer_on_cambricon_x_by_hand() -> None:
    # 64 pixels * ceil(32/16) filters per PE * ceil(576/16) steps
    assert device("cambricon_x").estimate(conv()).cycles == 64 * 2 * 36


def test_aligned_zeros_are_skipped_without_loss() -> None:
    for pattern in (Pattern.VECTOR, Pattern.GROUP):
        assert device("cambricon_x").estimate(conv(weight_density=[0.25], pattern=[pattern])).cycles == 64 * 2 * 9


def test_scattered_zeros_wait_for_the_fullest_filter() -> None:
    cambricon = device("cambricon_x")
    fine = cambricon.estimate(conv(weight_density=[0.25], pattern=[Pattern.FINE]))
    # fullest of 16 filters: 144 + 1.766 * sqrt(144 * 0.75) = 162.4 weights; (162.4 + 7.5) / 16 steps
    assert fine.cycles == pytest.approx(64 * 2 * 10.62, rel=1e-3)
    assert fine.energy_parts_j["mac"] == pytest.approx(0.25 * cambricon.estimate(conv()).energy_parts_j["mac"])


def test_cambricon_x_does_not_see_zero_activations_and_cnvlutin_no_zero_weights() -> None:
    cambricon, cnvlutin = device("cambricon_x"), device("cnvlutin", pes=16)
    assert cambricon.estimate(conv(activation_density=[0.3])).cycles == cambricon.estimate(conv()).cycles
    assert cnvlutin.estimate(conv(weight_density=[0.3])).cycles == cnvlutin.estimate(conv()).cycles
    # 36 inputs per lane, 30 % of them: the fullest of 16 lanes has 10.8 + 1.766 * sqrt(10.8 * 0.7) = 15.66
    assert cnvlutin.estimate(conv(activation_density=[0.3])).cycles == pytest.approx(64 * 2 * 15.66, rel=1e-3)


def test_scnn_multiplies_every_weight_of_a_channel_with_every_activation() -> None:
    # 64 -> 32 channels, 3x3, 16x16 pixels on 8x8 elements: a patch of 2x2; outputs of a patch 4x4, so 1024/16 = 64 >= 32 filters fit.
    # Per channel ceil(32*9/4) * ceil(4/4) = 72 cycles, 64 channels
    assert device("scnn").estimate(conv(in_h=[16], in_w=[16], out_h=[16], out_w=[16])).cycles == 72 * 64


def _scnn_speedup(density: float) -> float:
    """Against DCNN: the same patches, 16 inputs of a dot product at once, on GoogLeNet."""
    table = load_network("googlenet")
    layers = select(table, [n for n, op in zip(table.names, np.broadcast_to(table.op, table.shape), strict=True) if op == Op.CONV])
    patches = np.ceil(layers.out_h / 8) * np.ceil(layers.out_w / 8)
    dense = patches * np.ceil(layers.gemm_k / 16) * layers.gemm_n
    sparse = layers.replace(weight_density=density, activation_density=density, pattern=Pattern.FINE)
    return float(dense.sum() / device("scnn").estimate(sparse).cycles.sum())


def test_scnn_loses_on_dense_layers_and_wins_on_sparse_ones_as_published() -> None:
    # Parashar et al., ISCA 2017, fig. 7, GoogLeNet at uniform densities (recalled): 0.79 of the dense machine at density 1, even at
    # 0.85, 24 times at 0.1. Nothing was fitted to these; 15 % is what reading a logarithmic plot allows.
    assert _scnn_speedup(1.0) == pytest.approx(0.79, rel=0.15)
    assert _scnn_speedup(0.85) == pytest.approx(1.0, rel=0.15)
    assert _scnn_speedup(0.1) == pytest.approx(24, rel=0.15)


def test_a_stride_wastes_no_products_but_splits_the_work_into_phases() -> None:
    # 4x4 kernel, stride 2, 32x32 inputs: 4 phases of 2x2 weights and 2x2 of the 4x4 places of a patch. Accumulators hold
    # (2+3)^2 = 25 outputs each, floor(1024/25) = 40 >= 32 filters: ceil(32*16/4/4) * ceil(4/4) = 32 cycles per channel and phase
    strided = conv(kernel_h=[4], kernel_w=[4], stride=[2], in_h=[32], in_w=[32], out_h=[16], out_w=[16])
    assert device("scnn").estimate(strided).cycles == 32 * 64 * 4


def test_a_pair_of_non_zeros_takes_a_cycle_in_a_v2_element() -> None:
    # 64 pixels * 576 inputs * 32 filters = 1 179 648 MACs; pairs 0.5 * 0.4 + 0.05 * sqrt(0.5 * 0.5 * 0.4 * 0.6) = 0.2122
    fine = conv(weight_density=[0.5], activation_density=[0.4], pattern=[Pattern.FINE])
    assert device("eyeriss_v2_pe").estimate(fine).cycles == pytest.approx(1_179_648 * 0.2122, rel=1e-3)


def test_a_depthwise_filter_sees_one_channel_and_no_correlation() -> None:
    # 64 channels * 64 pixels * 9 MACs, 0.5 * 0.4 of them
    depthwise = conv(out_channels=[64], groups=[64], weight_density=[0.5], activation_density=[0.4], pattern=[Pattern.FINE])
    assert device("eyeriss_v2_pe").estimate(depthwise).cycles == pytest.approx(64 * 64 * 9 * 0.2)


def test_pairs_are_never_more_frequent_than_either_operand() -> None:
    sparse = conv(weight_density=[0.999], activation_density=[0.4], pattern=[Pattern.FINE])
    assert device("eyeriss_v2_pe").estimate(sparse).cycles <= 1_179_648 * 0.4 * (1 + 1e-12)


@pytest.mark.parametrize(
    ("layer", "densities", "simulated"),
    [("L07", (0.52, 0.73), 1_702_140), ("L13", (0.64, 0.83), 1_144_158), ("L21", (0.6, 0.64), 1_677_684), ("L27", (0.3, 0.58), 775_316)],
)
def test_a_v2_element_meets_its_simulation_on_a_pruned_mobilenet(layer: str, densities: tuple[float, float], simulated: int) -> None:
    # Wu et al., MICRO 2022, fig. 12, ground truth
    weights, activations = densities
    workload = select(load_network("mobilenet_v1_050_128"), [layer])
    workload = workload.replace(weight_density=weights, activation_density=activations, pattern=Pattern.FINE)
    assert device("eyeriss_v2_pe").estimate(workload).cycles[0] == pytest.approx(simulated, rel=0.05)


def test_more_elements_wait_for_the_fullest_of_them() -> None:
    fine = conv(weight_density=[0.5], activation_density=[0.4], pattern=[Pattern.FINE])
    one, many = device("eyeriss_v2_pe").estimate(fine).cycles, device("eyeriss_v2", lanes=1).estimate(fine).cycles
    assert one / 192 < many < one / 100


@pytest.mark.parametrize(("network", "frames_per_s"), [("mobilenet_v1_050_128", 1282), ("alexnet", 102)])
def test_eyeriss_v2_runs_dense_networks_as_fast_as_published(network: str, frames_per_s: float) -> None:
    # Chen et al., JETCAS 2019, table of results (recalled). DRAM is assumed; nothing was fitted to these: 15 %
    dense = load_network(network).replace(weight_bits=8, activation_bits=8, weight_density=1.0, activation_density=1.0)
    assert 1 / device("eyeriss_v2").estimate(dense).total_latency_s == pytest.approx(frames_per_s, rel=0.15)


def test_eie_refuses_a_convolution_in_one_line() -> None:
    alexnet = load_network("alexnet")
    with pytest.raises(ValueError, match="Device 'eie' runs fully connected layers only, but layer 'conv1' is a convolution"):
        load_device("eie").estimate(alexnet)
    unused: Ints = np.zeros(1, np.int64)
    assert load_device("eie").estimate(Workload(names=("off",), in_channels=unused, out_channels=unused)).total_latency_s == 0
