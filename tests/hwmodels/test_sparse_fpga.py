from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwmodels import HardwareError, Pattern, Workload, load_device
from hwmodels.networks import load_network
from hwmodels.sparse_fpga import SparseMatrixVector

DEVICE = SparseMatrixVector(
    name="toy",
    pes=2,
    channels=4,
    fifo_depth=8,
    run_bits=4,
    pointer_bits=16,
    clock_hz=1e6,
    max_bits=16,
    dsp_type="dsp48e2",
    dsps=16,
    bram18=100,
    dram_bytes_per_s=1e9,
    mac_energy_j=2e-12,
    sram_energy_j_per_bit=1e-13,
    dram_energy_j_per_bit=1e-11,
    static_power_w=1e-3,
)


def matrix(**changes: object) -> Workload:
    """10 inputs, 16 outputs, half of the weights zero, pruned with balanced load."""
    fields: dict[str, object] = {
        "in_channels": [10],
        "out_channels": [16],
        "op": [1],
        "weight_bits": [8],
        "activation_bits": [16],
        "weight_density": [0.5],
        "pattern": [int(Pattern.GROUP)],
    }
    return Workload(names=("gate",), **(fields | changes))  # type: ignore[arg-type]


def lstm(pattern: Pattern = Pattern.GROUP) -> Workload:
    """ESE's benchmark: 32 voices, 12-bit weights of which 11.2 % are left (Han et al., FPGA 2017)."""
    facts = {"batch": 32, "weight_bits": 12, "activation_bits": 16, "pattern": int(pattern), "weight_density": 0.112}
    return load_network("google_lstm").replace(**{name: np.full((), value) for name, value in facts.items()})


def test_a_matrix_by_hand() -> None:
    report = DEVICE.estimate(matrix())
    # 10 columns of 8 rows per PE, half of them non-zero; gaps of up to 16 rows need no padding
    assert report.cycles == 10 * 4
    assert report.latency_s == pytest.approx(40e-6)
    # 10 columns of 8 weights of 8 + 4 bits and a pointer for each of 2 PEs; 10 inputs and 16 outputs of 16 bits
    stored = 10 * (8 * 12 + 2 * 16)
    assert report.dram_bytes == (stored + 26 * 16) / 8
    assert report.energy_parts_j["dram"] == pytest.approx((stored + 26 * 16) * 1e-11)
    # 80 MACs, each with an input and with a partial sum that is read and written
    assert report.energy_parts_j["sram"] == pytest.approx((stored + 80 * (16 + 64)) * 1e-13)
    assert report.utilization == pytest.approx(80 / (40 * 8))


def test_channels_share_the_stream_of_weights() -> None:
    one, four, five = (DEVICE.estimate(matrix(batch=[batch])) for batch in (1, 4, 5))
    assert one.cycles == four.cycles
    assert five.cycles == 2 * four.cycles
    assert (five.dram_bytes - four.dram_bytes) * 8 == 10 * (8 * 12 + 2 * 16) + 26 * 16


def test_long_gaps_are_bridged_by_stored_zeros() -> None:
    # 160 rows per PE with 1.6 non-zeros: most gaps are longer than 16
    sparse = matrix(out_channels=[320], weight_density=[0.01])
    stored = DEVICE.estimate(sparse).dram_bytes * 8 - 330 * 16 - 10 * 2 * 16
    assert stored > 3 * 10 * 3.2 * 12


def test_unbalanced_pruning_waits_for_the_fullest_pe() -> None:
    balanced, fine = DEVICE.estimate(matrix()), DEVICE.estimate(matrix(pattern=[int(Pattern.FINE)]))
    assert fine.cycles > balanced.cycles
    assert fine.dram_bytes == balanced.dram_bytes


def test_zero_activations_are_not_skipped() -> None:
    assert DEVICE.estimate(matrix(activation_density=[0.1])).cycles == DEVICE.estimate(matrix()).cycles


def test_a_matrix_can_be_bound_by_the_stream() -> None:
    slow = dataclasses.replace(DEVICE, dram_bytes_per_s=1e5)
    assert slow.estimate(matrix()).latency_s == pytest.approx((160 + 52) / 1e5)


def test_resources_by_hand() -> None:
    report = DEVICE.estimate(matrix())
    assert report.resources["DSP"] == 8
    # 8 partial sums per PE and channel, the vector of each channel twice, the weights of each PE twice; each fits one block
    assert report.resources["BRAM18"] == 8 + 8 + 4


def test_a_convolution_is_refused_by_name() -> None:
    image = matrix(op=[0], kernel_h=[3], kernel_w=[3])
    with pytest.raises(HardwareError, match="Device 'toy' multiplies matrices with vectors, but layer 'gate' is a convolution"):
        DEVICE.estimate(image)


def test_parameters_are_axes() -> None:
    pes, clocks = np.array([2, 4, 8]), np.array([1e6, 2e6, 4e6])
    swept = dataclasses.replace(DEVICE, pes=pes[:, None], clock_hz=clocks[:, None]).estimate(matrix())
    for i in range(3):
        alone = dataclasses.replace(DEVICE, pes=int(pes[i]), clock_hz=float(clocks[i])).estimate(matrix())
        assert swept.total_latency_s[i] == pytest.approx(alone.total_latency_s)
        assert swept.resources["DSP"][i] == alone.resources["DSP"]


def test_ese_without_a_fitted_constant() -> None:
    # Han et al., FPGA 2017: 82.7 us (recalled), 2520 GOP/s of the dense and 282 GOP/s of the pruned network
    report = load_device("ese_ku060").estimate(lstm())
    assert report.total_latency_s == pytest.approx(82.7e-6, rel=0.1)
    operations = 2 * float(lstm().macs.sum())
    assert operations / report.total_latency_s == pytest.approx(2520e9, rel=0.1)
    assert 0.112 * operations / report.total_latency_s == pytest.approx(282e9, rel=0.1)


def test_ese_is_bound_by_its_weights_and_pointers() -> None:
    # the paper's time of computing alone is 57.0 us (recalled); the rest is the stream
    report = load_device("ese_ku060").estimate(lstm())
    computing_s = report.cycles / 200e6
    assert computing_s.sum() == pytest.approx(57.0e-6, rel=0.1)
    assert (report.latency_s >= computing_s).all()
