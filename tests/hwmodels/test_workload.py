from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Workload, WorkloadError
from hwmodels.testing import sample_workload


def one(**fields: object) -> Workload:
    return Workload(**({"names": ("conv", "fc"), "in_channels": [4, 8], "out_channels": [8, 2]} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weight_bits": [8, 40]}, r"`weight_bits` must be at most 32, but layer 'fc' has \(weight_bits=40\)"),
        ({"activation_bits": [0, 8]}, r"`activation_bits` must be at least 1, but layer 'conv' has \(activation_bits=0\)"),
        ({"fused": [0, 2]}, r"`fused` must be at most 1, but layer 'fc' has \(fused=2\)"),
        ({"block": [-1, 0]}, r"`block` must be at least 0, but layer 'conv' has \(block=-1\)"),
        ({"weight_density": [0.5, float("nan")]}, r"`weight_density` must lie in \[0, 1\], but layer 'fc'"),
        ({"groups": [3, 1]}, r"`in_channels` must be a multiple of `groups`, but layer 'conv' has \(in_channels=4, groups=3\)"),
        ({"in_channels": [4, 8, 16]}, r"fields must broadcast to \.\.\. x 2 layers, but have in_channels \(3,\)"),
    ],
)
def test_what_cannot_exist_is_refused_with_the_layer(fields: dict[str, object], said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        one(**fields)


def test_macs_of_a_grouped_strided_layer() -> None:
    # 8 -> 16 channels in 4 groups, 3x3, 5x5 outputs, 2 images: 2*25 pixels x (2*9) inputs x 4 filters x 4 groups
    layer = Workload(names=("conv",), in_channels=[8], out_channels=[16], groups=4, kernel_h=3, kernel_w=3, out_h=5, out_w=5, batch=2)  # type: ignore[arg-type]
    assert layer.macs.tolist() == [50 * 18 * 4 * 4]
    assert layer.weights.tolist() == [18 * 4 * 4]


def test_a_part_is_the_same_candidates() -> None:
    workload = sample_workload(9)
    part = workload.part(3, 5)
    assert part.shape == (2, *workload.shape[1:])
    np.testing.assert_array_equal(part.macs, workload.macs[3:5])
    np.testing.assert_array_equal(part.weight_storage_bits, workload.weight_storage_bits[3:5])


def test_storage_is_the_smaller_of_packed_and_dense() -> None:
    # 32 weights of 8 bit: with a 4-bit index a density of one half takes 16 * 12 = 192 bits, of 0.9 more than the 256 dense ones
    layer = one(weight_bits=8, index_bits=[4, 4], weight_density=[0.5, 0.9])
    assert layer.weight_storage_bits.tolist() == [192, 16 * 8]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": 33}, "`weight_bits` must be at most 32"),
        ({"stride": 0}, "`stride` must be at least 1"),
        ({"weight_density": np.array([1.0, 1.5])}, "`weight_density` must lie in"),
        ({"groups": 3}, "`in_channels` must be a multiple of `groups`"),
        ({"out_channels": 7, "groups": 2}, "`out_channels` must be a multiple of `groups`"),
        ({"in_h": np.ones(3)}, "Workload fields must broadcast"),
    ],
)
def test_what_is_replaced_is_checked(changes: dict[str, np.ndarray | float], message: str) -> None:
    layer = Workload(("a", "b"), in_channels=np.array([4, 4]), out_channels=np.array([8, 8]))
    with pytest.raises(WorkloadError, match=message):
        layer.replace(**changes)


def test_a_field_that_does_not_exist_cannot_be_replaced() -> None:
    with pytest.raises(TypeError, match="wieght_bits"):
        sample_workload().replace(wieght_bits=8)


def test_replacing_keeps_the_rest_and_forgets_what_was_computed_from_it() -> None:
    layer = Workload(("a",), in_channels=np.array([4]), out_channels=np.array([8]))
    assert layer.macs.tolist() == [32]
    wider = layer.replace(in_channels=np.array([8]))
    assert (wider.macs.tolist(), wider.out_channels.tolist(), layer.macs.tolist()) == ([64], [8], [32])
