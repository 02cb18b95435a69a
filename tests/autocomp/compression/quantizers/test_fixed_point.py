"""Fixed-point factorized networks: Wang 2017."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocomp.choice import Choice, Choices, Configuration
from autocomp.compression import Quantization, calibrate, compress, default_methods
from autocomp.compression.quantizers.fixed_point import full_precision, nearest_ternary, original, semidiscrete, ternary_pair
from autocomp.compression.quantizers.ternary import TernaryWeight
from autocomp.errors import ConfigError
from autocomp.export import bake
from autocomp.tracing import trace

KINDS = {"svd": "4", "svd_out": "0", "svd_in": "0", "spatial": "0"}


def choice(kind: str, rank: float = 0.9) -> Choice:
    return Choice(rank=rank, factorization=kind, weight_bits=2, weight_quantizer="fixed_point_factorized")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)).eval()


def built(kind: str, **more: float) -> nn.Module:
    compressed = compress(network(), Configuration({KINDS[kind]: choice(kind, **more)}), default_methods(None))
    calibrate(compressed, torch.randn(32, 3, 8, 8))
    return compressed.eval()


def weights(pair: nn.Module) -> list[Tensor]:
    """The weights of a layer's factors, without their history."""
    return [part.weight.detach() for part in pair.modules() if isinstance(part, nn.Conv2d | nn.Linear)]


def product(pair: nn.Module) -> Tensor:
    """What two layers in a row do, as one matrix: the places of the second by those of the first."""
    first, second = weights(pair)
    return second.movedim(1, 0).flatten(1).T @ first.flatten(1)


def test_the_nearest_ternary_vector_keeps_the_largest_entries() -> None:
    # (v.x)^2 / |x|^2 for the 1, 2, 3 largest of (5, -4, 1): 25, 81 / 2 = 40.5, 100 / 3 = 33.3
    assert nearest_ternary(torch.tensor([1.0, 5, -4])).tolist() == [0, 1, -1]


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.integers(-50, 50), min_size=1, max_size=6))
def test_no_other_ternary_vector_has_a_smaller_angle(values: list[int]) -> None:
    vector = torch.tensor(values, dtype=torch.float64)
    found = nearest_ternary(vector)

    def gain(x: Tensor) -> float:
        return float((vector @ x) ** 2 / x.square().sum().clamp(min=1))

    every = (torch.tensor(x, dtype=torch.float64) for x in itertools.product((-1, 0, 1), repeat=len(values)))
    assert gain(found) == pytest.approx(max(map(gain, every)))


def test_a_matrix_of_ternary_factors_is_found_again() -> None:
    # 3 (1, -1, 0) (1, 0, 1)^T is one term, and nothing is left for a second
    matrix = 3 * torch.outer(torch.tensor([1.0, -1, 0]), torch.tensor([1.0, 0, 1]))
    x, scales, y = semidiscrete(matrix, 2)
    torch.testing.assert_close(x * scales @ y.T, matrix)
    assert scales[0].item() == pytest.approx(3)
    assert scales[1].item() < 1e-6


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_every_term_makes_the_error_smaller(seed: int) -> None:
    matrix = torch.randn(8, 12, generator=torch.Generator().manual_seed(seed))
    x, scales, y = semidiscrete(matrix, 8)
    assert set(x.flatten().tolist()) | set(y.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    errors = [(matrix - x[:, :r] * scales[:r] @ y[:, :r].T).norm().item() for r in range(9)]
    assert all(after < before for before, after in itertools.pairwise(errors))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_becomes_ternary_factors_with_a_diagonal_in_between(kind: str) -> None:
    first, second = weights(built(kind).get_submodule(KINDS[kind]))
    assert set(second.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    for row in first.flatten(1):  # one scale for each
        assert len(set(row[row != 0].abs().tolist())) <= 1
        assert row.abs().max() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_factors_come_near_the_layer_and_nearer_than_rounding_singular_vectors(kind: str) -> None:
    plain = compress(network(), Configuration({KINDS[kind]: Choice(rank=0.9, factorization=kind)}), default_methods(None))
    wanted = product(plain.get_submodule(KINDS[kind]))
    first, second = weights(plain.get_submodule(KINDS[kind]))
    rounded = TernaryWeight()(second).movedim(1, 0).flatten(1).T @ TernaryWeight()(first).flatten(1)
    found = (product(built(kind).get_submodule(KINDS[kind])) - wanted).norm() / wanted.norm()
    assert found < 0.7
    assert found < (rounded - wanted).norm() / wanted.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_on_paper_it_is_two_layers_of_two_bits(kind: str) -> None:
    shape = (3, 8, 8)
    workload = trace(network(), shape)
    lowered = workload
    for method in default_methods(None):
        lowered = method.lower(lowered, Choices.of([Configuration({KINDS[kind]: choice(kind)})], workload.names))
    traced, lowered = trace(built(kind), shape), lowered.candidate(0)
    assert traced.names == lowered.names
    assert traced.weight_bits.tolist() == lowered.weight_bits.tolist()
    assert sorted(traced.weight_bits.tolist()) == [2, 2, 32]
    assert traced.weight_storage_bits.tolist() == lowered.weight_storage_bits.tolist()


def test_it_trains_keeps_the_second_factor_without_a_scale_and_survives_copying_and_baking() -> None:
    compressed, images = built("svd_out"), torch.randn(16, 3, 8, 8)
    optimizer = torch.optim.Adam(compressed.parameters(), lr=0.02)
    target = torch.randn(16, 10)
    losses = []
    for _ in range(40):
        loss = (compressed.train()(images) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    compressed.eval()
    _, second = weights(compressed.get_submodule("0"))
    assert set(second.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    with torch.no_grad():
        wanted = compressed(images)
        assert torch.equal(copy.deepcopy(compressed)(images), wanted)
        assert torch.equal(bake(compressed)(images), wanted)


def test_pruned_factors_stay_pruned() -> None:
    both = Choice(0.5, "fine", 0.5, "svd", 2, "fixed_point_factorized")
    compressed = compress(network(), Configuration({"4": both}), default_methods(None))
    for weight in weights(compressed.get_submodule("4")):
        assert int((weight == 0).sum()) >= weight.numel() // 2


def test_a_layer_that_has_no_factors_is_one_clear_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^`fixed_point_factorized` weights need two factors, but layer '4' has 1; see `factorization`\.$"
    ):
        compress(network(), Configuration({"4": choice("svd")}), (Quantization(),))


def test_full_precision_weights_are_worked_by_hand() -> None:
    # W = (1.2, 0.8) as one term: the first factor's ternary part is (1, 1), its scale 1, the second's 1. Within half a step of them
    # 1 (1.2, 0.8) is W itself.
    first, second = torch.tensor([[1.2, 0.8]]), torch.tensor([[1.0]])
    rounded = ternary_pair(first, second)
    torch.testing.assert_close(rounded[0], torch.tensor([[1.0, 1.0]]))
    inner, outer = full_precision(first, second, *rounded)
    torch.testing.assert_close(outer @ inner, torch.tensor([[1.2, 0.8]]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_training_begins_with_weights_that_round_to_the_factors_and_come_nearer_to_the_layer(kind: str) -> None:
    name = KINDS[kind]
    plain = compress(network(), Configuration({name: Choice(rank=0.9, factorization=kind)}), default_methods(None)).get_submodule(name)
    whole = product(plain)
    first, second = weights(plain)
    pair = ternary_pair(first, second)
    ternary = pair[1].movedim(1, 0).flatten(1).T @ pair[0].flatten(1)
    parts = [part for part in built(kind).get_submodule(name).modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    for part, rounded in zip(parts, pair, strict=True):
        torch.testing.assert_close(part.weight, rounded)
    inner, outer = (original(part).detach() for part in parts)
    recovered = outer.movedim(1, 0).flatten(1).T @ inner.flatten(1)
    assert (recovered - whole).norm() < 0.5 * (ternary - whole).norm()


def test_with_enough_terms_the_weights_come_back() -> None:
    matrix = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    errors = []
    for terms in (6, 24, 96):
        x, scales, y = semidiscrete(matrix, terms)
        errors.append(((x * scales @ y.T - matrix).norm() / matrix.norm()).item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3
