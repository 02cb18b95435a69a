"""What a device makes of weights: nothing without disturbance, the figures by hand, and the same devices for everybody."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.compression.nonideal import Coded, Disturbed, Nonidealities, coded, draw_of, train_disturbed
from autocomp.export import bake
from autocomp.tracing import trace
from hwmodels import load_device
from hwmodels.nonidealities import Cells
from hwmodels.testing import sample_workload


def held(weight: Tensor, bits: int, step: float, **disturbances: Any) -> Tensor:
    """A weight as one device holds it."""
    device = Nonidealities(**disturbances)
    code = Coded.of(weight, bits, torch.tensor(step))
    return code.weights(code.planes(device, torch.Generator().manual_seed(0)), device)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 16), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_an_exact_device_holds_every_weight_exactly(bits: int, cell_bits: int, differential: bool, seed: int) -> None:
    high = 2 ** (bits - 1) - 1
    codes = torch.randint(-high, high + 1, (3, 7), generator=torch.Generator().manual_seed(seed)).float()
    found = held(codes * 0.25, bits, 0.25, cell_bits=cell_bits, differential=differential)
    torch.testing.assert_close(found, codes * 0.25, rtol=0, atol=0)


def test_what_the_grid_leaves_over_is_no_disturbance() -> None:
    # 0.3 lies between the levels 0.25 and 0.5; rounding is the quantizer's business
    torch.testing.assert_close(held(torch.tensor([[0.3, -0.3]]), 4, 0.25, cell_bits=2), torch.tensor([[0.3, -0.3]]))


@pytest.mark.parametrize("differential", [True, False])
def test_drift_takes_the_same_share_of_every_weight(differential: bool) -> None:
    weight = torch.tensor([[3.0, -2.0, 1.0]])
    found = held(weight, 4, 1.0, cell_bits=2, differential=differential, drift_factor=0.5, on_off_ratio=10)
    torch.testing.assert_close(found, weight / 2)


def test_stuck_cells_give_the_weights_worked_by_hand() -> None:
    # 4 bits in two cells of two bits. All off: pairs cancel; without pairs 0 is read for code + 8, so -8.
    # All on: pairs cancel again; without pairs 3 + 4 * 3 = 15 is read, so 15 - 8 = 7.
    weight = torch.tensor([[3.0, -2.0]])
    same = {"cell_bits": 2, "on_off_ratio": 100}
    for stuck in ({"stuck_off": 1.0}, {"stuck_on": 1.0}):
        torch.testing.assert_close(held(weight, 4, 1.0, differential=True, **stuck, **same), torch.zeros(1, 2))
    torch.testing.assert_close(held(weight, 4, 1.0, stuck_off=1.0, **same), torch.full((1, 2), -8.0))
    torch.testing.assert_close(held(weight, 4, 1.0, stuck_on=1.0, **same), torch.full((1, 2), 7.0))


def test_a_fraction_of_the_cells_is_stuck() -> None:
    levels = torch.ones(100_000)
    read = Nonidealities(cell_bits=2, stuck_off=0.02, stuck_on=0.01, on_off_ratio=50).read(levels, torch.Generator().manual_seed(0))
    assert (read < 0.5).float().mean().item() == pytest.approx(0.02, abs=0.002)
    assert (read > 2.5).float().mean().item() == pytest.approx(0.01, abs=0.002)


def test_programming_noise_is_a_share_of_the_largest_conductance() -> None:
    # 3 levels over a window of 1 - 1/4 of the largest conductance: 0.02 of it are 0.02 * 3 / 0.75 = 0.08 levels.
    device = Nonidealities(cell_bits=2, programming_sigma=0.02, on_off_ratio=4)
    read = device.read(torch.full((50_000,), 2.0), torch.Generator().manual_seed(0))
    assert read.mean().item() == pytest.approx(2, abs=0.002)
    assert read.std().item() == pytest.approx(0.08, rel=0.02)


def test_noise_that_depends_on_the_conductance_takes_the_place_of_the_constant_one() -> None:
    # g = 1/2: 0.01 + 0.08/2 - 0.04/4 = 0.04 of the largest conductance, times 2 levels per unit
    device = Nonidealities(cell_bits=1, programming_sigma=0.5, sigma_offset=0.01, sigma_linear=0.08, sigma_curvature=0.04)
    read = device.read(torch.full((50_000,), 0.5), torch.Generator().manual_seed(0))
    assert read.std().item() == pytest.approx(0.04, rel=0.02)


def test_the_voltage_falls_along_the_rows_as_the_hardware_model_says() -> None:
    cells = Cells(
        bits=1,
        differential=True,
        sigma=(0, 0, 0, 0),
        stuck=(0, 0),
        on_ohm=1e4,
        on_off_ratio=10,
        drift_nu=0,
        drift_start_s=1,
        age_s=1,
        wire_ohm=1,
    )
    mean, worst = (float(share) for share in cells.ir_drop(64, 64))
    device = Nonidealities(active_rows=64, ir_drop_worst=worst)
    gain = device.gain(128)
    assert 1 - gain.mean().item() == pytest.approx(mean, rel=1e-3)
    assert 1 - gain.min().item() == pytest.approx(worst, rel=1e-3)
    torch.testing.assert_close(gain[:64], gain[64:])  # the next rows are read later, from their own beginning


def test_a_row_that_is_zero_in_every_filter_is_not_in_the_crossbar() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    found = held(weight, 4, 1.0, cell_bits=1, programming_sigma=0.1, on_off_ratio=10)
    assert not found[:, 1].any()
    assert found[1, 0] != 0  # single zeros are


def test_draws_depend_on_seed_draw_and_layer_alone() -> None:
    def numbers(layer: str, draw: int, seed: int) -> list[float]:
        return torch.randn(4, generator=draw_of(layer, draw=draw, seed=seed)).tolist()

    first = numbers("conv", 0, 0)
    torch.manual_seed(5)
    assert numbers("conv", 0, 0) == first
    for other in (("conv2", 0, 0), ("conv", 1, 0), ("conv", 0, 1)):
        assert numbers(*other) != first


def test_switching_one_disturbance_on_leaves_the_others_numbers_as_they_are() -> None:
    levels = torch.full((1000,), 1.0)
    noisy, both = (
        Nonidealities(cell_bits=1, programming_sigma=0.02, stuck_off=off).read(levels, torch.Generator().manual_seed(0)) for off in (0, 0.1)
    )
    assert 0 < (both == 0).sum() < 200
    torch.testing.assert_close(both[both != 0], noisy[both != 0])


def test_only_devices_that_disturb_count() -> None:
    workload = sample_workload(1)
    assert Nonidealities.of(None) is None
    assert Nonidealities.of(load_device("zcu102").nonidealities(workload)) is None
    assert Nonidealities.of(load_device("colonnade").nonidealities(workload)) is None  # digital cells
    isaac = Nonidealities.of(load_device("isaac").nonidealities(workload))
    assert isaac is not None
    assert isaac.disturbs_weights
    assert not isaac.disturbs_sums
    assert (isaac.cell_bits, isaac.active_rows, isaac.programming_sigma) == (2, 128, 0.02)
    assert Nonidealities.of({"adc_bits": [5], "lossless_adc_bits": [8.0], "unheard_of": 3}) == Nonidealities(
        adc_bits=5, lossless_adc_bits=8
    )


def test_a_code_that_is_narrower_than_a_cell_spans_the_whole_cell() -> None:
    # Three bits with a sign in another cell are two bits: levels 0 to 3 lie 5 of a 4-bit cell's levels apart.
    device = Nonidealities(cell_bits=4, differential=True, adc_range=100, adc_step=10, adc_bits=5, lossless_adc_bits=9)
    assert device.holding(3) == Nonidealities(cell_bits=2, differential=True, adc_range=20, adc_step=2, adc_bits=5, lossless_adc_bits=9)
    assert device.holding(5) == device.holding(16) == device
    assert Nonidealities(cell_bits=4).holding(4) == Nonidealities(cell_bits=4)


def test_a_layers_code_is_its_quantizers() -> None:
    network = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    small = compress(network, Configuration({"0": Choice(weight_bits=4)}), default_methods(None))
    found, free = coded(small[0]), coded(small[2])  # type: ignore[index]
    assert (found.bits, free.bits) == (4, 16)
    assert found.code.abs().max() <= 7
    torch.testing.assert_close(found.code * found.step, small[0].weight, rtol=1e-5, atol=1e-6)  # type: ignore[index]
    assert free.code.abs().amax(1).tolist() == [2**15 - 1] * 2


def test_training_disturbs_and_measuring_does_not() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()
    x = torch.randn(5, 2, 4, 4)
    before, workload = network(x), trace(network, (2, 4, 4))
    noisy = copy.deepcopy(network)
    train_disturbed(noisy, Nonidealities(cell_bits=2, programming_sigma=0.05))
    torch.testing.assert_close(noisy(x), before)
    assert all((a == b).all() for a, b in zip(workload.arrays().values(), trace(noisy, (2, 4, 4)).arrays().values(), strict=True))
    noisy.train()
    first, second = noisy(x), noisy(x)
    assert not torch.equal(first, second)
    assert (first - before).abs().max() < before.abs().max()
    torch.testing.assert_close(bake(noisy)(x), before)  # what is exported bears no disturbance


def test_a_copy_is_disturbed_on_its_own_grid() -> None:
    network = compress(nn.Sequential(nn.Linear(6, 3)).eval(), Configuration({"0": Choice(weight_bits=4)}), default_methods(None))
    train_disturbed(network, Nonidealities(programming_sigma=0.1))
    copied = copy.deepcopy(network)
    grid, disturbed = copied[0].parametrizations.weight  # type: ignore[index]
    assert disturbed._grids == [grid]
    assert not set(map(id, copied.parameters())) & set(map(id, network.parameters()))


def test_gradients_pass_straight_through_the_disturbance() -> None:
    layer = nn.Linear(4, 2, bias=False)
    parametrize.register_parametrization(layer, "weight", Disturbed(layer, Nonidealities(programming_sigma=0.1)))
    x = torch.randn(3, 4)
    layer.train()(x).sum().backward()
    torch.testing.assert_close(layer.parametrizations.weight.original.grad, x.sum(0).expand(2, 4))  # type: ignore[union-attr]
