"""Low-rank factorization: full rank changes nothing, a lower one is the best there is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import Factorization, compress
from autocomp.tracing import trace

from .networks import weight_of

METHODS = (Factorization(),)
CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "strided and padded": nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), bias=False),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding="same"),
    "reflecting": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "wide": nn.Conv2d(2, 30, 3),
    "pointwise": nn.Conv2d(8, 3, 1),
}


def split(layer: nn.Module, rank: float) -> nn.Sequential:
    factorization = "svd" if isinstance(layer, nn.Linear) else "svd_out"
    configuration = Configuration({"0": Choice(rank=rank, factorization=factorization)})
    pair = compress(nn.Sequential(layer), configuration, METHODS).get_submodule("0")
    assert isinstance(pair, nn.Sequential)
    return pair


def weights(pair: nn.Sequential) -> tuple[Tensor, Tensor]:
    return weight_of(pair, "0").flatten(1), weight_of(pair, "1").flatten(1)


# The fraction 0.999 rounds to the full rank of these layers, and still splits them.
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_at_full_rank_the_factors_of_a_convolution_compute_what_it_does(name: str) -> None:
    layer, x = CONVOLUTIONS[name], torch.randn(2, CONVOLUTIONS[name].in_channels, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(split(layer, 0.999)(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_at_full_rank_the_factors_of_a_linear_layer_compute_what_it_does(bias: bool) -> None:
    layer, x = nn.Linear(7, 5, bias=bias), torch.randn(3, 7)
    with torch.no_grad():
        torch.testing.assert_close(split(layer, 0.999)(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [nn.Linear(20, 12), nn.Conv2d(4, 12, 3)], ids=["linear", "convolution"])
@pytest.mark.parametrize("rank", [1, 4, 9])
def test_the_error_is_the_tail_of_the_singular_values(layer: nn.Linear | nn.Conv2d, rank: int) -> None:
    # Eckart and Young 1936: no matrix of rank r is nearer than sqrt(s_{r+1}^2 + ...) in the Frobenius norm.
    inner, outer = weights(split(layer, rank / 12))
    matrix = layer.weight.detach().flatten(1)
    tail = torch.linalg.svdvals(matrix)[rank:].square().sum().sqrt()
    assert inner.shape[0] == outer.shape[1] == rank
    assert float((outer @ inner - matrix).norm()) == pytest.approx(float(tail), rel=1e-4)


def test_the_factors_share_the_singular_values_evenly() -> None:
    # diag(9, 4): each factor gets the roots, 3 and 2.
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.diag(torch.tensor([9.0, 4.0]))
    inner, outer = weights(split(layer, 0.999))
    torch.testing.assert_close(inner.norm(dim=1), torch.tensor([3.0, 2.0]))
    torch.testing.assert_close(outer.norm(dim=0), torch.tensor([3.0, 2.0]))


def test_stride_padding_and_dilation_belong_to_the_first_factor_and_the_bias_to_the_second() -> None:
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    first, second = split(layer, 0.5)
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert (first.kernel_size, first.stride, first.padding, first.dilation) == ((3, 5), (2, 1), (1, 2), (1, 2))
    assert first.bias is None
    assert (second.kernel_size, second.stride, second.padding) == ((1, 1), (1, 1), (0, 0))
    assert torch.equal(second.bias, layer.bias)  # type: ignore[arg-type]


def test_the_rank_is_never_below_one_and_is_a_fraction_of_the_smaller_side() -> None:
    assert weights(split(nn.Linear(20, 12), 0.001))[0].shape == (1, 20)
    assert weights(split(nn.Linear(20, 12), 0.25))[0].shape == (3, 20)
    assert weights(split(nn.Conv2d(1, 30, 2), 0.5))[0].shape == (2, 4)  # 30 filters of 4 weights: full rank 4


def test_the_factors_take_over_the_mode_of_the_layer() -> None:
    layer = nn.Linear(4, 4).eval()
    assert not split(layer, 0.5).training


def test_a_layer_of_rank_one_or_in_groups_is_not_offered() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 1, 1), nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(16, 3))
    offered = Factorization().supported(trace(network, (4, 4, 4)))
    assert offered["factorization", "svd_out"].tolist() == [False, False, False, False]
    assert offered["factorization", "svd"].tolist() == [False, False, False, True]
