"""Patterns: what goes together, how much goes, and what storing it takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import Factorization, WeightPruning, compress
from autocomp.compression.patterns import INDEX_BITS, WEIGHT_PATTERNS, dims_of_layer, grouped
from autocomp.errors import ConfigError
from autocomp.tracing import trace
from hwmodels import Pattern, Workload

from .networks import weight_of


def pruned(layer: nn.Module, pattern: str, sparsity: float) -> nn.Module:
    """The layer alone in a network, pruned."""
    return compress(nn.Sequential(layer), Configuration({"0": Choice(sparsity=sparsity, pattern=pattern)}), (WeightPruning(),))


def conv(weight: Tensor, groups: int = 1) -> nn.Conv2d:
    n, c, h, w = weight.shape
    layer = nn.Conv2d(c * groups, n, (h, w), groups=groups, bias=False)
    layer.weight.data = weight.float()
    return layer


def workload_of(network: nn.Module, layer: nn.Conv2d | nn.Linear) -> Workload:
    return trace(network, (layer.in_channels, 9, 9) if isinstance(layer, nn.Conv2d) else (1, 1, layer.in_features))


# One filter that reads two channels with 2 x 3 kernels; the first kernel is 1 2 3 / 9 0 0, the second 4 4 4 / 7 1 0.
KERNELS = torch.tensor([[[[1, 2, 3], [9, 0, 0]], [[4, 4, 4], [7, 1, 0]]]])


def test_of_vectors_the_rows_with_the_smallest_sums_go() -> None:
    # sums 6, 9, 12, 8: half of four rows are the first and the last
    kept = weight_of(pruned(conv(KERNELS), "vector", 0.5))
    assert kept.tolist() == [[[[0, 0, 0], [9, 0, 0]], [[4, 4, 4], [0, 0, 0]]]]


def test_strided_vectors_are_the_columns_of_a_kernel() -> None:
    # sums 10, 2, 3 and 11, 5, 4: half of six columns are 2, 3 and 4
    kept = weight_of(pruned(conv(KERNELS), "strided", 0.5))
    assert kept.tolist() == [[[[1, 0, 0], [9, 0, 0]], [[4, 4, 0], [7, 1, 0]]]]


def test_of_kernels_the_one_with_the_smallest_sum_goes_though_it_holds_the_largest_weight() -> None:
    # sums 15 and 20
    kept = weight_of(pruned(conv(KERNELS), "kernel", 0.5))
    assert kept.tolist() == [[[[0, 0, 0], [0, 0, 0]], [[4, 4, 4], [7, 1, 0]]]]


def test_a_group_is_one_place_in_all_filters() -> None:
    # four inputs of a linear layer with sums over the outputs 5, 6, 3, 8: the third and the first go
    layer = nn.Linear(4, 2, bias=False)
    layer.weight.data = torch.tensor([[5.0, -1, 3, 0], [0, 5, 0, -8]])
    assert weight_of(pruned(layer, "group", 0.5)).tolist() == [[0, -1, 0, 0], [0, 5, 0, -8]]


def test_the_groups_of_a_grouped_convolution_have_places_of_their_own() -> None:
    # two groups with two filters of two weights; sums over filters: 3, 7 in the first group and 5, 1 in the second
    weight = torch.tensor([[1, 3], [2, 4], [2, 0], [3, 1]])[:, :, None, None]
    kept = weight_of(pruned(conv(weight, groups=2), "group", 0.5))
    assert kept.flatten(1).tolist() == [[0, 3], [0, 4], [2, 0], [3, 0]]


@pytest.mark.parametrize(
    ("sparsity", "kept"),
    [
        (0.25, [0, 3, -9, 4, 7, 6, 5, 0]),  # 3:4
        (0.5, [0, 0, -9, 4, 7, 6, 0, 0]),  # 2:4
        (0.7, [0, 0, -9, 4, 7, 6, 0, 0]),  # rounded down to 2:4
        (0.75, [0, 0, -9, 0, 7, 0, 0, 0]),  # 1:4
        (0.99, [0, 0, -9, 0, 7, 0, 0, 0]),  # one always stays
    ],
)
def test_n_of_each_four_neighbouring_inputs_stay(sparsity: float, kept: list[float]) -> None:
    layer = nn.Linear(8, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 3, -9, 4, 7, 6, 5, 2]])
    assert weight_of(pruned(layer, "n_m", sparsity)).tolist() == [kept]


def test_inputs_that_fill_no_group_of_four_keep_up_to_n_of_themselves() -> None:
    # 6 = 4 + 2: of the last two both may stay in 2:4 and one in 1:4
    layer = nn.Linear(6, 1, bias=False)
    layer.weight.data = torch.tensor([[1.0, 2, 3, 4, 5, 6]])
    assert weight_of(pruned(layer, "n_m", 0.5)).tolist() == [[0, 0, 3, 4, 5, 6]]
    assert weight_of(pruned(layer, "n_m", 0.75)).tolist() == [[0, 0, 0, 4, 0, 6]]


@st.composite
def layers(draw: st.DrawFn) -> nn.Conv2d | nn.Linear:
    groups, n, c, h, w = (draw(st.integers(1, most)) for most in (3, 5, 9, 3, 3))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(st.integers(0, 99)))
        return nn.Conv2d(groups * c, groups * n, (h, w), groups=groups) if draw(st.booleans()) else nn.Linear(c, n)


@settings(deadline=None, max_examples=100)
@given(layers(), st.sampled_from(sorted(WEIGHT_PATTERNS)), st.floats(0, 0.99))
def test_a_mask_keeps_as_many_weights_as_the_pattern_says_and_whole_units(
    layer: nn.Conv2d | nn.Linear, pattern: str, sparsity: float
) -> None:
    found, groups = WEIGHT_PATTERNS[pattern], getattr(layer, "groups", 1)
    mask = found.mask(grouped(layer.weight.detach().abs(), groups), sparsity)
    assert int(mask.sum()) == int(found.kept(dims_of_layer(layer), np.array(sparsity)))
    assert mask.any()
    if found.spans:
        assert torch.equal(mask, mask.any(found.spans, keepdim=True).expand(mask.shape))


@settings(deadline=None, max_examples=60)
@given(layers(), st.sampled_from(sorted(WEIGHT_PATTERNS)), st.floats(0.01, 0.99), st.sampled_from([2, 8, 32]))
def test_the_size_on_paper_holds_one_position_for_each_unit(layer: nn.Conv2d | nn.Linear, pattern: str, sparsity: float, bits: int) -> None:
    dims = dims_of_layer(layer)
    if not WEIGHT_PATTERNS[pattern].fits(dims):
        return
    work = workload_of(pruned(layer, pattern, sparsity), layer).replace(weight_bits=bits)
    dense, kept = int(work.weights[0]) * bits, int(work.nonzeros[0])
    if pattern == "n_m":
        assert int(work.weight_storage_bits[0]) == min(kept * (bits + 2), dense)  # log2(4) bits say which of the four it is
        return
    unit = int(np.prod([dims[axis] for axis in WEIGHT_PATTERNS[pattern].spans]))
    exact, slack = kept * bits + kept // unit * INDEX_BITS, kept if unit > 1 else 0
    # whole bits per weight: never less than it takes, and less than one bit per weight more
    assert min(exact, dense) <= int(work.weight_storage_bits[0]) <= min(exact + slack, dense)


@pytest.mark.parametrize(
    ("pattern", "code", "index_bits"),
    # a 3 x 3 kernel; 4 position bits shared by 1, 3, 3, 9 and 8 weights, or 2 bits for one of four
    [("fine", 1, 4), ("vector", 2, 2), ("strided", 2, 2), ("kernel", 3, 1), ("group", 4, 1), ("n_m", 5, 2)],
)
def test_hardware_sees_the_pattern_and_its_positions(pattern: str, code: int, index_bits: int) -> None:
    layer = nn.Conv2d(4, 8, 3)
    work = workload_of(pruned(layer, pattern, 0.5), layer)
    assert (int(work.pattern[0]), int(work.index_bits[0]), float(work.weight_density[0])) == (code, index_bits, 0.5)


def test_a_unit_of_a_single_weight_is_fine_grained() -> None:
    # svd_out makes a 3 x 3 convolution with kernels, and a 1 x 1 one whose kernels are single weights
    choice = Choice(rank=0.5, factorization="svd_out", sparsity=0.5, pattern="kernel")
    network = compress(nn.Sequential(nn.Conv2d(4, 8, 3)), Configuration({"0": choice}), (Factorization(), WeightPruning()))
    work = trace(network, (4, 9, 9))
    assert work.pattern.tolist() == [Pattern.KERNEL, Pattern.FINE]
    assert work.index_bits.tolist() == [1, 4]


@pytest.mark.parametrize("pattern", ["vector", "strided", "kernel"])
def test_a_pattern_of_kernels_does_not_fit_a_layer_without_them(pattern: str) -> None:
    able = "it can take fine, group, n_m."
    with pytest.raises(ConfigError, match=f"Pattern '{pattern}' does not fit layer '0', Linear with weights 5 x 8; {able}"):
        pruned(nn.Linear(8, 5), pattern, 0.5)


def test_columns_and_n_of_m_do_not_fit_a_depthwise_layer() -> None:
    for pattern in ("group", "n_m"):
        with pytest.raises(ConfigError, match="Conv2d with weights 6 x 1 x 3 x 3; it can take fine, vector, strided, kernel"):
            pruned(nn.Conv2d(6, 6, 3, groups=6), pattern, 0.5)
