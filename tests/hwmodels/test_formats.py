from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Pattern, Workload
from hwmodels.formats import Format, PackedOperands, bits_per_value

FORMATS: tuple[Format, ...] = ("dense", "bitmask", "run_length", "csc", "n_m")


def per_value(storage: Format, density: float, bits: float = 8, rows: float = 64, **options: float) -> float:
    return float(bits_per_value(storage, np.array(bits), np.array(density), rows=np.array(rows), **options))  # type: ignore[arg-type]


def layer(density: float, pattern: Pattern, **changes: object) -> Workload:
    """32 -> 16 channels, 3x3: 4608 weights of 8 bit in columns of 288; 4x4 pixels."""
    fields: dict[str, object] = {"in_h": [4], "in_w": [4], "out_h": [4], "out_w": [4], "kernel_h": [3], "kernel_w": [3]}
    fields |= {"in_channels": [32], "out_channels": [16], "weight_bits": [8], "activation_bits": [8]}
    return Workload(names=("conv",), weight_density=np.array([density]), pattern=np.array([pattern]), **(fields | changes))  # type: ignore[arg-type]


def packed(workload: Workload, storage: Format, **options: object) -> float:
    return float(PackedOperands(workload, 16, weight_format=storage, **options).packed_weights.sum())  # type: ignore[arg-type]


def test_bits_per_value_by_hand() -> None:
    assert per_value("dense", 0.25) == 8
    assert per_value("bitmask", 0.25) == 0.25 * 8 + 1  # 8 + 1 / 0.25 = 12 bits per non-zero
    assert per_value("csc", 0.25) == 0.25 * (8 + 6) + 16 / 64  # log2(64) bits of row, a pointer for 64 values
    assert per_value("n_m", 0.5, run_bits=2) == 0.5 * (8 + 2)  # 2:4: two values and two positions for four places


@pytest.mark.parametrize("density", [0.02, 0.1, 0.4])
def test_run_lengths_pay_for_zeros_that_break_long_runs_as_a_simulation_does(density: float) -> None:
    # runs of up to 15 zeros: sixteen zeros in a row store the last of them as an entry
    values = np.random.default_rng(0).random(400_000) < density
    entries, run = 0, 0
    for value in values:
        entries, run = (entries + 1, 0) if value or run == 15 else (entries, run + 1)
    assert per_value("run_length", density, bits=8) == pytest.approx(entries * 12 / len(values), rel=0.03)


@pytest.mark.parametrize("storage", FORMATS)
def test_no_format_takes_more_than_dense_storage(storage: Format) -> None:
    for density in (0.0, 0.05, 0.5, 0.95, 1.0):
        assert 0 <= per_value(storage, density) <= 8


@pytest.mark.parametrize("storage", FORMATS)
def test_denser_values_never_take_less(storage: Format) -> None:
    taken = [per_value(storage, density) for density in np.linspace(0, 1, 51)]
    assert taken == sorted(taken)


def test_four_in_four_is_no_two_in_four() -> None:
    assert per_value("n_m", 0.51, run_bits=2) == 8
    assert per_value("n_m", 0.1, run_bits=2) == 0.5 * (8 + 2)  # two are kept even if they are zero


@pytest.mark.parametrize(
    ("pattern", "shared"),
    [(Pattern.FINE, 1), (Pattern.VECTOR, 3), (Pattern.KERNEL, 9), (Pattern.GROUP, 16)],  # row of a kernel, kernel, all 16 filters
)
def test_a_pattern_divides_the_cost_of_a_position(pattern: Pattern, shared: int) -> None:
    assert packed(layer(0.25, pattern), "bitmask") == pytest.approx(4608 * (0.25 * 8 + 1 / shared))


def test_columns_are_as_long_as_a_filter() -> None:
    assert packed(layer(0.25, Pattern.FINE), "csc") == pytest.approx(4608 * (0.25 * (8 + 9) + 16 / 288))  # log2(288) -> 9 bits


def test_only_a_group_pattern_is_n_of_m() -> None:
    assert packed(layer(0.5, Pattern.GROUP), "n_m", run_bits=2) == 4608 * 5
    assert packed(layer(0.5, Pattern.FINE), "n_m", run_bits=2) == 4608 * 8


def test_a_codebook_is_stored_beside_the_weights() -> None:
    assert packed(layer(1.0, Pattern.DENSE, codebook=[16]), "bitmask") == 4608 * 8 + 16 * 32


def test_feature_maps_follow_their_own_format() -> None:
    workload = layer(1.0, Pattern.DENSE, activation_density=[0.5])
    work = PackedOperands(workload, 16, map_format="bitmask")
    assert work.inputs == 32 * 16 * (0.5 * 8 + 1)
    assert work.outputs == 16 * 16 * (0.5 * 8 + 1)
    assert PackedOperands(workload, 16).inputs == 32 * 16 * 8
