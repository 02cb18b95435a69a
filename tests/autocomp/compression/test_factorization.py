"""Low-rank factorization: full rank changes nothing, a lower one is near, and paper and network have the same shapes."""

from __future__ import annotations

import pickle
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

from autocomp.choice import FACTORIZATIONS, Choice, Choices, Configuration
from autocomp.compression import Calibration, Factorization, compress
from autocomp.compression.factor_cache import FactorCache
from autocomp.compression.factors import CACHE
from autocomp.compression.kinds import KINDS
from autocomp.errors import ConfigError
from autocomp.export import bake, trace_program
from autocomp.models import build
from autocomp.space_rules import build_space
from autocomp.tracing import trace
from hwmodels import Workload

from .networks import weight_of

METHODS = (Factorization(),)
OF_CONVOLUTIONS = [kind for kind in KINDS if kind != "svd"]
EXACT = [kind for kind in OF_CONVOLUTIONS if kind != "block_term"]  # no number of blocks is enough for any kernel
CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3),
    "strided and padded": nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), bias=False),
    "stepping in one direction": nn.Conv2d(4, 6, 3, stride=(1, 2), padding=1),
    "dilated": nn.Conv2d(4, 6, 3, dilation=2, padding="same"),
    "even": nn.Conv2d(4, 6, (2, 4), padding="same"),
    "reflecting": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "wide": nn.Conv2d(2, 30, 3),
    "tall": nn.Conv2d(6, 5, (3, 1), padding=(1, 0)),
    "pointwise": nn.Conv2d(8, 3, 1),
}


def chain(layer: nn.Module, rank: float, kind: str, method: Factorization = METHODS[0]) -> nn.Sequential:
    configuration = Configuration({"0": Choice(rank=rank, factorization=kind)})
    parts = compress(nn.Sequential(layer), configuration, (method,)).get_submodule("0")
    assert isinstance(parts, nn.Sequential)
    return parts


def split(layer: nn.Module, rank: float) -> nn.Sequential:
    return chain(layer, rank, "svd" if isinstance(layer, nn.Linear) else "svd_out")


def weights(pair: nn.Sequential) -> tuple[Tensor, Tensor]:
    return weight_of(pair, "0").flatten(1), weight_of(pair, "1").flatten(1)


def shapes(parts: nn.Sequential) -> list[tuple[int, ...]]:
    return [tuple(weight_of(parts, str(i)).shape) for i in range(len(parts))]


def can_take(layer: nn.Conv2d, kind: str) -> bool:
    return sum(side > 1 for side in layer.kernel_size) >= KINDS[kind].sides


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_kind_can_be_chosen() -> None:
    assert set(KINDS) == set(FACTORIZATIONS) - {"none"}


# The fraction 0.999 rounds to the full rank of these layers, and still splits them.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # torch says that it copies
@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, layer in CONVOLUTIONS.items() for kind in EXACT if can_take(layer, kind)]
)
def test_at_full_rank_the_factors_of_a_convolution_compute_what_it_does(name: str, kind: str) -> None:
    layer = CONVOLUTIONS[name]
    x = drawn(2, layer.in_channels, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(chain(layer, 0.999, kind)(x), layer(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_at_full_rank_the_factors_of_a_linear_layer_compute_what_it_does(bias: bool) -> None:
    layer, x = nn.Linear(7, 5, bias=bias), torch.randn(3, 7)
    with torch.no_grad():
        torch.testing.assert_close(split(layer, 0.999)(x), layer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OF_CONVOLUTIONS)
def test_a_higher_rank_answers_nearer_to_the_layer(kind: str) -> None:
    torch.manual_seed(0)
    layer, x = nn.Conv2d(16, 16, 3, padding=1), drawn(4, 16, 8, 8)
    with torch.no_grad():
        errors = [float((chain(layer, rank, kind)(x) - layer(x)).norm()) for rank in (0.25, 0.5, 0.75)]
    assert errors == sorted(errors, reverse=True)


# A layer with 8 inputs, 12 filters and a kernel of 3 x 5, at a fraction of 0.5:
@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("svd_out", [(6, 8, 3, 5), (12, 6, 1, 1)]),  # full rank min(8 * 15, 12) = 12
        ("svd_in", [(4, 8, 1, 1), (12, 4, 3, 5)]),  # min(8, 12 * 15) = 8
        ("spatial", [(12, 8, 3, 1), (12, 12, 1, 5)]),  # min(8 * 3, 12 * 5) = 24
        ("three", [(12, 8, 3, 1), (6, 12, 1, 5), (12, 6, 1, 1)]),  # 12; and of 6 filters min(8 * 3, 6 * 5) = 24
        ("tucker2", [(4, 8, 1, 1), (6, 4, 3, 5), (12, 6, 1, 1)]),  # 8 and 12
        ("cp", [(60, 8, 1, 1), (60, 1, 3, 1), (60, 1, 1, 5), (12, 60, 1, 1)]),  # 15 places of rank min(8, 12): 120
        ("block_term", [(4, 8, 1, 1), (4, 1, 3, 5), (12, 4, 1, 1)]),  # 4 blocks; 4 // 4 = 1 and 6 // 4 = 1 each
    ],
)
def test_the_parts_of_each_kind(kind: str, wanted: list[tuple[int, ...]]) -> None:
    parts = chain(nn.Conv2d(8, 12, (3, 5)), 0.5, kind)
    assert shapes(parts) == wanted
    groups = [part.groups for part in parts if isinstance(part, nn.Conv2d)]
    assert groups == {"cp": [1, 60, 60, 1], "block_term": [1, 4, 1]}.get(kind, [1] * len(wanted))


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


def test_a_separable_kernel_has_spatial_rank_one() -> None:
    # Jaderberg 2014: (1, 2, 1) down times (-1, 0, 1) across is Sobel's filter; 1 of 3 ranks is enough for it.
    layer = nn.Conv2d(1, 1, 3, bias=False)
    layer.weight.data[0, 0] = torch.outer(torch.tensor([1.0, 2, 1]), torch.tensor([-1.0, 0, 1]))
    down, across = (weight_of(chain(layer, 1 / 3, "spatial"), str(i)) for i in (0, 1))
    assert (down.shape, across.shape) == ((1, 1, 3, 1), (1, 1, 1, 3))
    torch.testing.assert_close(down @ across, layer.weight.detach())


def test_stride_padding_and_dilation_belong_to_the_part_that_has_the_kernel_and_the_bias_to_the_last() -> None:
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    first, second = split(layer, 0.5)
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    assert (first.kernel_size, first.stride, first.padding, first.dilation) == ((3, 5), (2, 1), (1, 2), (1, 2))
    assert first.bias is None
    assert (second.kernel_size, second.stride, second.padding) == ((1, 1), (1, 1), (0, 0))
    assert torch.equal(second.bias, layer.bias)  # type: ignore[arg-type]


def test_each_spatial_part_steps_and_pads_along_its_own_side() -> None:
    layer = nn.Conv2d(4, 6, (3, 5), stride=(2, 3), padding=(1, 2), dilation=(1, 2))
    parts = [part for part in chain(layer, 0.5, "spatial") if isinstance(part, nn.Conv2d)]
    assert [(p.stride, p.padding, p.dilation) for p in parts] == [((2, 1), (1, 0), (1, 1)), ((1, 3), (0, 2), (1, 2))]


def test_the_rank_is_never_below_one_and_is_a_fraction_of_the_smaller_side() -> None:
    assert weights(split(nn.Linear(20, 12), 0.001))[0].shape == (1, 20)
    assert weights(split(nn.Linear(20, 12), 0.25))[0].shape == (3, 20)
    assert weights(split(nn.Conv2d(1, 30, 2), 0.5))[0].shape == (2, 4)  # 30 filters of 4 weights: full rank 4


def test_the_factors_take_over_mode_and_precision_of_the_layer() -> None:
    layer = nn.Conv2d(4, 4, 3).double().eval()
    for kind in OF_CONVOLUTIONS:
        parts = chain(layer, 0.5, kind)
        assert not any(module.training for module in parts.modules())
        assert {parameter.dtype for parameter in parts.parameters()} == {torch.double}


def offered(*layers: nn.Module) -> dict[str, list[bool]]:
    workload = trace(nn.Sequential(*layers), (4, 8, 8))
    return {kind: mask.tolist() for (_, kind), mask in Factorization().supported(workload).items()}


def test_a_layer_of_rank_one_or_in_groups_is_not_offered() -> None:
    network = (nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 1, 1), nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(144, 3))
    found = offered(*network)
    assert found["svd"] == [False, False, False, True]
    assert not any(any(found[kind]) for kind in OF_CONVOLUTIONS)


def test_a_kind_is_offered_where_it_splits_the_kernel_in_a_way_of_its_own() -> None:
    found = offered(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, (3, 1)), nn.Conv2d(4, 4, 3))
    assert found == {
        "svd_out": [True, True, True],
        **{kind: [False, True, True] for kind in ("svd_in", "tucker2", "block_term")},
        **{kind: [False, False, True] for kind in ("spatial", "three", "cp")},
        "svd": [False, False, False],
    }


LINES: list[tuple[nn.Module, str, str]] = [
    (nn.Conv2d(4, 4, 3, groups=2), "svd_out", "splits a convolution in one group, but layer '0' is none"),
    (nn.Conv2d(4, 4, 1), "tucker2", "splits a convolution in one group with a kernel of more than one pixel, but layer '0' is none"),
    (nn.Conv2d(4, 4, (3, 1)), "cp", "splits a convolution in one group with a kernel of more than one pixel both ways, but layer '0'"),
    (nn.Conv2d(4, 4, 3), "svd", "splits a linear layer, but layer '0' is none"),
    (nn.Linear(8, 4), "spatial", "splits a convolution in one group with a kernel of more than one pixel both ways, but layer '0'"),
]


@pytest.mark.parametrize(("layer", "kind", "message"), LINES)
def test_a_layer_that_a_kind_cannot_split_is_one_clear_line_on_paper_and_in_the_network(layer: nn.Module, kind: str, message: str) -> None:
    network = nn.Sequential(layer)
    configuration = Configuration({"0": Choice(rank=0.5, factorization=kind)})
    with pytest.raises(ConfigError) as in_network:
        compress(network, configuration, METHODS)
    workload = trace(network, (8, 1, 8) if isinstance(layer, nn.Linear) else (4, 8, 8))
    with pytest.raises(ConfigError) as on_paper:
        Factorization().lower(workload, Choices.of([configuration], workload.names))
    assert str(in_network.value) == str(on_paper.value)
    assert str(on_paper.value).startswith(f"`factorization` {kind} {message}")
    assert "\n" not in str(on_paper.value)


def test_a_layer_that_is_not_there_or_is_none_is_one_clear_line() -> None:
    with pytest.raises(ConfigError, match=r"svd_out splits a convolution in one group, but layer '0' is none"):
        chain(nn.ReLU(), 0.5, "svd_out")


def test_candidates_that_split_a_layer_differently_share_its_slots() -> None:
    # 6 x 6 pixels, 8 -> 12 channels, 3 x 3, stride 2; a 1 x 1 layer behind it. MACs by hand, 9 output pixels:
    # whole 9*72*12; svd_out at 0.5: 9*72*6 + 9*6*12; spatial: 3x1 to 12 channels on 3x6 pixels, 18*24*12, then 9*36*12;
    # cp at 1/6 (72 / 6 = 12 terms): 36*8*12, 3x1 on 3x6 pixels 18*3*12, 1x3 9*3*12, 9*12*12.
    network = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Conv2d(12, 4, 1))
    choices = [
        Choice(),
        Choice(rank=0.5, factorization="svd_out"),
        Choice(rank=0.5, factorization="spatial"),
        Choice(rank=1 / 6, factorization="cp"),
    ]
    configurations = [Configuration({"0": choice}) for choice in choices]
    lowered = Factorization().lower(trace(network, (8, 6, 6)), Choices.of(configurations, ("0", "1")))
    assert lowered.names == ("0.0", "0.1", "0.2", "0.3", "1")
    assert lowered.macs[:, :4].tolist() == [
        [7776, 0, 0, 0],
        [3888, 648, 0, 0],
        [5184, 3888, 0, 0],
        [3456, 648, 324, 1296],
    ]
    assert lowered.groups[3].tolist() == [1, 12, 12, 1, 1]
    assert [lowered.candidate(i).names for i in (0, 3)] == [("0.0", "1"), ("0.0", "0.1", "0.2", "0.3", "1")]


def test_what_no_candidate_changes_stays_one_number_per_slot() -> None:
    # A hardware model then computes it once, not for each of a thousand candidates.
    workload = trace(nn.Sequential(nn.Conv2d(8, 12, 3)), (8, 6, 6))
    configurations = [Configuration({"0": Choice(rank=rank, factorization="svd_out")}) for rank in (0.25, 0.5, 1)]
    lowered = Factorization().lower(workload, Choices.of(configurations, workload.names))
    assert {field for field, values in lowered.arrays().items() if values.ndim == 2} == {"in_channels", "out_channels"}


def test_the_other_layers_answers_have_no_zeros_of_an_activation_function_in_between() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3))
    workload = trace(network, (8, 6, 6), drawn(1, 8, 6, 6))
    assert workload.activation_density[0] < 0.7
    configuration = Configuration({"1": Choice(rank=0.5, factorization="tucker2")})
    lowered: Workload = Factorization().lower(workload, Choices.of([configuration], workload.names)).candidate(0)
    assert lowered.activation_density.tolist() == [float(workload.activation_density[0]), 1.0, 1.0]


@pytest.mark.parametrize("kind", OF_CONVOLUTIONS)
def test_a_factorized_network_learns_and_is_exported(kind: str) -> None:
    network = build("digits_resnet", classes=10, input_shape=(1, 8, 8))
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)][1:]
    student = compress(network, Configuration({name: Choice(rank=0.3, factorization=kind) for name in layers}), METHODS)
    x = drawn(4, 1, 8, 8)
    student.train()(x).square().mean().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in student.parameters())
    baked = bake(student)
    torch.testing.assert_close(trace_program(baked, (1, 8, 8)).module()(x), student.eval()(x), rtol=1e-4, atol=1e-5)


def test_a_second_trial_on_the_same_weights_computes_nothing_anew() -> None:
    network = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3))

    def trial(rank: float, kind: str) -> int:
        compress(network, Configuration({name: Choice(rank=rank, factorization=kind) for name in "01"}), METHODS)
        return len(CACHE)

    before = len(CACHE)
    assert [trial(rank, "tucker2") for rank in (0.5, 0.25, 0.75)] == [before + 2] * 3
    assert [trial(0.5, "three"), trial(0.25, "three"), trial(0.5, "svd_out"), trial(0.3, "svd_out")] == [
        *[before + 4] * 2,
        *[before + 6] * 2,
    ]
    next(network.parameters()).data += 1  # other weights are others, wherever they are
    assert trial(0.5, "tucker2") == before + 7


def test_the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    cache, computed = FactorCache(limit=100), []

    def ask(name: str, numbers: int = 10) -> None:
        cache.get(name, lambda: computed.append(name) or (torch.zeros(numbers),))  # type: ignore[func-returns-value]

    for name in ("a", "b", "a", "c", "a", "b"):  # 40 bytes each: two fit; c pushes b out
        ask(name)
    assert computed == ["a", "b", "c", "b"]
    assert (len(cache), cache.size) == (2, 80)
    ask("large", 1000)
    assert (len(cache), cache.size) == (0, 0)


def test_a_method_travels_without_its_cache() -> None:
    chain(nn.Conv2d(64, 64, 3), 0.5, "tucker2")
    assert len(pickle.dumps(METHODS[0])) < 500


def errors_of_answers(kind: str, x: Tensor, *, bias: bool, rank: float = 0.3) -> tuple[float, float]:
    """Squared errors of the answers of the second layer behind a compressed first one: factors of the weights, and fitted ones."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1, stride=2, bias=bias)).eval()
    configuration = Configuration({name: Choice(rank=rank, factorization=kind) for name in "02"})
    method: Any = Factorization(responses=True)
    by_weights, fitted = (compress(network, configuration, (m,)) for m in (method, method.given(Calibration(x))))
    with torch.no_grad():
        return float((by_weights(x) - network(x)).square().sum()), float((fitted(x) - network(x)).square().sum())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", OF_CONVOLUTIONS)
def test_factors_that_are_fitted_to_answers_answer_better(kind: str, bias: bool) -> None:
    by_weights, fitted = errors_of_answers(kind, drawn(100, 6, 6, 6), bias=bias)
    assert fitted < 0.95 * by_weights


def test_answers_that_are_all_alike_need_one_rank_only() -> None:
    # Zhang 2015: what counts is the rank of the answers. These inputs are multiples of one image, so all answers lie on a line for each
    # pixel; at 1 x 1 pixel a rank of one reproduces them, though the weights have full rank.
    layer, x = nn.Conv2d(4, 4, 3), drawn(32, 1, 1, 1) * drawn(1, 4, 3, 3, seed=1)
    fitted = chain(layer, 0.25, "svd_out", Factorization(responses=True, calibration=Calibration(x)))
    assert shapes(fitted) == [(1, 4, 3, 3), (4, 1, 1, 1)]
    with torch.no_grad():
        torch.testing.assert_close(fitted(x), layer(x), rtol=1e-3, atol=1e-3)


def test_without_images_or_without_being_asked_factors_are_those_of_the_weights() -> None:
    layer, x = nn.Conv2d(4, 6, 3), drawn(8, 4, 6, 6)
    plain = chain(layer, 0.5, "tucker2")
    for method in (Factorization(responses=True), Factorization(calibration=Calibration(x))):
        other = chain(layer, 0.5, "tucker2", method)
        assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), other.parameters(), strict=True))


def test_fitting_leaves_the_teacher_as_it_was_and_covers_linear_layers_and_layers_that_run_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.again, self.head, self.idle = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 16), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.head(self.again(self.again(x)).flatten(1))
            return logits

    torch.manual_seed(0)
    network, x = Twice().eval(), drawn(200, 4, 2, 2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    configuration = Configuration(
        {"again": Choice(rank=0.5, factorization="svd_out"), **{n: Choice(rank=0.7, factorization="svd") for n in ("head", "idle")}}
    )
    errors = []
    with torch.no_grad():
        for method in (Factorization(), Factorization(responses=True, calibration=Calibration(x))):
            student = compress(network, configuration, (method,))
            errors.append(float((student(x) - network(x)).square().mean()))
    assert errors[1] < errors[0]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_the_space_of_low_ranks_offers_every_kind_and_leaves_both_ends_whole() -> None:
    rules = yaml.safe_load(Path(str(files("search_spaces").joinpath("space/low_rank.yaml"))).read_text(encoding="utf-8"))["rules"]
    workload = trace(build("lenet5", classes=10, input_shape=(1, 28, 28)), (1, 28, 28))
    space = build_space(rules, workload, METHODS)
    offered = {knob.layer: set(knob.options) for knob in space.knobs if knob.name == "factorization"}
    inner = workload.names[1:-1]
    assert set(offered) == set(inner)
    assert set().union(*offered.values()) == set(KINDS)
