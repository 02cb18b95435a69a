"""A network on one device: exact where the device is, sums rounded and clipped by hand, rows in groups."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.compression.devices import on_device
from autocomp.compression.nonideal import Nonidealities


def lossy(**values: Any) -> Nonidealities:
    """A device whose converters are too coarse."""
    return Nonidealities(**{"adc_bits": 1, "lossless_adc_bits": 2, **values})


def linear(weights: list[float], bias: float = 0.0) -> nn.Linear:
    layer = nn.Linear(len(weights), 1)
    layer.weight.data.copy_(torch.tensor([weights]))
    layer.bias.data.fill_(bias)
    return layer.eval()


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=4), nn.Flatten(), nn.Linear(32, 5))
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("differential", [True, False])
def test_a_device_without_disturbance_computes_what_the_network_does(differential: bool) -> None:
    x = torch.randn(6, 3, 4, 4)
    net = network()
    found = on_device(net, Nonidealities(cell_bits=2, differential=differential), draw=0)
    torch.testing.assert_close(found(x), net(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("differential", [True, False])
def test_fine_converters_give_the_same_sums(differential: bool) -> None:
    # 12 + bits of conversion for 5 rows of 2-bit cells and 16-bit inputs read at once: no step is coarser than the input's own
    x, net = torch.rand(6, 3, 4, 4), network()
    device = lossy(cell_bits=2, differential=differential, active_rows=5, dac_bits=16, adc_step=1, adc_range=1e9)
    torch.testing.assert_close(on_device(net, device, draw=0, fit_adc=False)(x), net(x), rtol=1e-2, atol=1e-2)


def test_a_sum_is_rounded_to_the_step_of_its_converter() -> None:
    # 16-bit codes: the largest weight 32767 is one cell of 15 bits. Inputs of one 16-bit slice: x = 1 is 65535 levels.
    # The sum is 32767 * 65535 * (1 + 1/2 + 1/4) = 3.758e9; with steps of 2e9 it is read as 4e9, 0.9314 * 2 of one weight times one input.
    device = lossy(cell_bits=15, differential=True, dac_bits=16, adc_step=2e9, adc_range=1e12)
    found = on_device(linear([1.0, 0.5, 0.25], bias=3.0), device, draw=0, fit_adc=False)(torch.ones(1, 3))
    assert found.item() == pytest.approx(3 + 4e9 / (32767 * 65535), rel=1e-4)


def test_a_sum_beyond_the_range_is_clipped_in_both_directions() -> None:
    device = lossy(cell_bits=15, differential=True, dac_bits=16, adc_step=1, adc_range=1e9)
    limit = 1e9 / (32767 * 65535)
    for sign in (1.0, -1.0):
        found = on_device(linear([sign, sign]), device, draw=0, fit_adc=False)(torch.ones(1, 2))
        assert found.item() == pytest.approx(sign * limit, rel=1e-4)


def test_rows_that_are_read_apart_are_clipped_apart() -> None:
    # Each pair of rows stays below the range of 3e9 (2 * 32767 * 65535 = 4.29e9 is above, 2.15e9 of one row below it).
    device = {"cell_bits": 15, "differential": True, "dac_bits": 16, "adc_step": 1, "adc_range": 3e9}
    together, apart = (
        on_device(linear([1.0, 1.0]), lossy(active_rows=rows, **device), draw=0, fit_adc=False)(torch.ones(1, 2)).item() for rows in (2, 1)
    )
    assert together == pytest.approx(3e9 / (32767 * 65535), rel=1e-4)
    assert apart == pytest.approx(2, rel=1e-4)


def test_the_step_of_many_input_slices_has_the_rounding_error_of_slices_read_one_by_one() -> None:
    # Inputs of four 1-bit slices: step sqrt(1 + 4 + 16 + 64) = sqrt(85) times as large.
    # Read one by one, each slice's error is even in +-step/2; the errors' variances add up with weights 1, 4, 16, 64.
    generator = torch.Generator().manual_seed(0)
    rows, step = 400, 7.0
    codes = torch.randint(0, 2, (64, rows), generator=generator).float()
    inputs = torch.randint(0, 16, (256, rows), generator=generator).float()
    inputs[:, 0] = 15
    layer = nn.Linear(rows, 64, bias=False)
    layer.weight.data.copy_(codes)
    layer.input_quantizer = nn.Identity()
    layer.input_quantizer.bits = 4  # type: ignore[assignment]
    device = lossy(cell_bits=15, differential=True, dac_bits=1, adc_step=step * 32767, adc_range=1e12, active_rows=rows)
    merged = on_device(layer.eval(), device, draw=0, fit_adc=False)(inputs) - inputs @ codes.T
    bits = [(inputs.int() >> t & 1).float() @ codes.T for t in range(4)]
    serial = sum(2**t * ((s / step).round() * step - s) for t, s in enumerate(bits))
    assert isinstance(serial, Tensor)
    assert merged.std().item() == pytest.approx(serial.std().item(), rel=0.1)


def test_converters_that_are_fitted_lose_less() -> None:
    x, net = torch.rand(16, 3, 4, 4), network()
    device = lossy(cell_bits=2, differential=True, dac_bits=1, active_rows=64, adc_range=192.0, adc_step=12.0)
    wanted = net(x)
    fitted, fixed = (F.mse_loss(on_device(net, device, draw=0, fit_adc=fit)(x), wanted).item() for fit in (True, False))
    assert fitted < fixed / 4


def test_a_draw_is_a_device_of_its_own_and_the_network_stays() -> None:
    x, net = torch.rand(4, 3, 4, 4), network()
    before = net(x)
    device = Nonidealities(cell_bits=2, programming_sigma=0.05, stuck_on=0.01)
    first, again, second = (on_device(net, device, draw=d)(x) for d in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, before)
    assert torch.equal(net(x), before)
