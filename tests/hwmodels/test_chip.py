from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import load_device
from hwmodels.fpga import lut_mac_luts
from hwmodels.networks import load_network, select
from hwmodels.unrolled import UnrolledEngine

from .engines import DEVICE, conv


def changed(**changes: object) -> UnrolledEngine:
    return dataclasses.replace(DEVICE, **changes)  # type: ignore[arg-type]


def test_resources_are_those_of_zhang() -> None:
    """Zhang et al., FPGA 2015: 2240 DSP slices, 186 251 LUTs, 205 704 flip-flops, 1024 block RAMs, which the tiling is free to choose."""
    convolutions = select(load_network("alexnet"), ["conv1", "conv2", "conv3", "conv4", "conv5"])
    report = load_device("vc707").estimate(convolutions)
    assert report.feasible
    assert report.resources["DSP"] == 2240
    assert report.resources["LUT"] == pytest.approx(186_251, rel=0.01)
    assert report.resources["FF"] == pytest.approx(205_704, rel=0.01)
    assert 1024 <= report.resources["BRAM18"] <= 2060


def test_multipliers_of_luts_take_no_slices() -> None:
    report = changed(mac_style="lut", max_bits=4).estimate(conv(4))
    assert report.resources["DSP"] == 0
    assert report.resources["LUT"] == 32 * lut_mac_luts(np.array(4.0), np.array(4.0))
    assert changed(logic_macs=12.0).estimate(conv()).resources["DSP"] == 20


def test_a_floating_point_engine_takes_five_slices_for_a_mac() -> None:
    report = changed(max_bits=32).estimate(conv(32))
    assert report.resources["DSP"] == 5 * 32
    assert changed(max_bits=32, dsp_type="arria10").estimate(conv(32)).resources["DSP"] == 32


def test_a_port_narrower_than_the_memory_bounds_a_layer() -> None:
    # 2.88 KB + 2.88 KB + 3.6 KB at 1 byte per cycle
    slow = changed(port_bytes=1.0, overlap_transfers=False).estimate(conv())
    assert slow.total_latency_s == pytest.approx((3 * 3 * 144 * 9 + (1440 + 2880 + 1800) * 2) / 1e8)


def test_ultrarams_take_what_block_rams_cannot() -> None:
    large = conv(in_channels=[4], out_channels=[8], in_h=[112], in_w=[112], out_h=[112], out_w=[112])
    rams = changed(tile_rows=112.0, tile_cols=112.0, bram18=100)
    need = float(rams.estimate(large).resources["BRAM18"])
    assert not rams.estimate(large).feasible
    both = dataclasses.replace(rams, urams=50.0).estimate(large)
    assert both.feasible
    assert both.resources["URAM"] == np.ceil((need - 100) / 16)
    assert both.resources["BRAM18"] <= 100


def test_transfers_that_are_not_overlapped_add_to_computing() -> None:
    hidden, added = DEVICE.estimate(conv()), changed(overlap_transfers=False).estimate(conv())
    # 12 240 bytes at 10 000 per cycle
    assert added.total_latency_s * 1e8 == pytest.approx(3 * 3 * 144 * 9 + 1.224)
    assert hidden.total_latency_s < added.total_latency_s


def test_energy_is_split_into_multiplying_buffers_memory_and_standing_still() -> None:
    report = DEVICE.estimate(conv())
    assert report.energy_parts_j["mac"] == pytest.approx(259_200 * 2e-12)
    assert report.energy_parts_j["dram"] == pytest.approx(12_240 * 8 * 1e-11)
    assert report.energy_parts_j["static"] == pytest.approx(float(report.total_latency_s))
    # each MAC reads an input for 8 filters, a weight for 1 pixel, and a sum of 32 bits twice for 4 channels; and what DRAM moves
    assert report.energy_parts_j["sram"] == pytest.approx((259_200 * (16 / 8 + 16 + 64 / 4) + 12_240 * 8) * 1e-12)


def test_a_floating_point_engine_gains_traffic_only_from_narrow_numbers() -> None:
    engine = changed(max_bits=32)
    wide, narrow = engine.estimate(conv(32)), engine.estimate(conv(8))
    assert wide.cycles == narrow.cycles
    assert wide.dram_bytes == 4 * narrow.dram_bytes
