from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Op, Pattern, Workload, load_device
from hwmodels.sparse import SparseAccelerator


def device(name: str) -> SparseAccelerator:
    model = load_device(name)
    assert isinstance(model, SparseAccelerator)
    return model


def product(weights: float = 1.0, activations: float = 1.0, pattern: Pattern = Pattern.FINE, size: int = 4096) -> Workload:
    """A square matrix product in 16 bit: a linear layer on a sequence."""
    edge = np.array([size])
    shape = {"in_channels": edge, "out_channels": edge, "in_h": edge, "out_h": edge, "op": np.array([Op.LINEAR])}
    densities = {"weight_density": np.array([weights]), "activation_density": np.array([activations])}
    return Workload(names=("gemm",), **shape, **densities).replace(weight_bits=16, activation_bits=16, pattern=pattern)


def cycles(name: str, workload: Workload) -> float:
    return float(device(name).estimate(workload).cycles[0])


def test_a_dense_product_reaches_the_peak_of_both_cores() -> None:
    # 4096^3 MACs on 6912 x 16 and on 320 x 128 multipliers; 6912 does not divide 4096^2, and the last round is not full
    assert cycles("nm_tensor_core", product()) == pytest.approx(4096**3 / (6912 * 16), rel=1e-3)
    assert cycles("dstc", product()) == pytest.approx(4096**3 / (320 * 128))


def test_two_of_four_halves_the_time_exactly() -> None:
    dense = cycles("nm_tensor_core", product())
    assert cycles("nm_tensor_core", product(0.5, pattern=Pattern.GROUP)) == dense / 2
    assert cycles("nm_tensor_core", product(0.2, pattern=Pattern.GROUP)) == dense / 2  # two are computed even if they are zero


@pytest.mark.parametrize("pattern", [Pattern.FINE, Pattern.VECTOR, Pattern.KERNEL])
def test_no_other_pattern_gains_anything_on_an_n_m_core(pattern: Pattern) -> None:
    dense = device("nm_tensor_core").estimate(product())
    other = device("nm_tensor_core").estimate(product(0.1, 0.1, pattern))
    assert other.total_latency_s == dense.total_latency_s
    assert other.total_energy_j == dense.total_energy_j


def test_more_than_two_of_four_is_computed_densely() -> None:
    assert cycles("nm_tensor_core", product(0.51, pattern=Pattern.GROUP)) == cycles("nm_tensor_core", product())


@pytest.mark.parametrize(
    ("activations", "weights", "relative"),
    [(1.0, 0.4, 0.543), (0.7, 0.4, 0.396), (0.5, 1.0, 0.585), (0.5, 0.4, 0.322), (0.3, 1.0, 0.42), (0.3, 0.4, 0.239)],
)
def test_dual_side_skipping_meets_the_paper(activations: float, weights: float, relative: float) -> None:
    # Wang et al., ISCA 2021, fig. 21, digitised by Wu et al., MICRO 2022; nothing was fitted, blocks of 8 x 16 in tiles of 32 x 32 are
    # the published instruction. 11 % at (0.7, 0.4), else 5 %
    sparse = cycles("dstc", product(weights, activations))
    assert sparse / cycles("dstc", product()) == pytest.approx(relative, rel=0.11)


def test_packing_a_vector_of_32_by_hand() -> None:
    # weights at density 0.4: 12.8 of 32, more than one block of 16 with probability P(X >= 17) = 0.09 -> 1.09 of 2 blocks
    assert cycles("dstc", product(0.4)) / cycles("dstc", product()) == pytest.approx(1.09 / 2, rel=0.01)


def test_positions_that_all_filters_drop_are_skipped_without_loss() -> None:
    assert cycles("dstc", product(0.25, pattern=Pattern.GROUP)) == pytest.approx(0.25 * cycles("dstc", product()))
