from __future__ import annotations

import numpy as np
import pytest

from hwmodels.folding import Engines, shortest


def engines(**changes: object) -> Engines:
    """A convolution of 144 steps, 4 inputs and 8 outputs, and a linear layer of 128 inputs and 10 outputs."""
    fields: dict[str, object] = {
        "inputs": [4, 128],
        "outputs": [8, 10],
        "steps": [144, 1],
        "stored_bits": [288, 1280],
        "read_bits": [1, 1],
        "mac_luts": [5, 5],
        "mac_dsps": [0, 0],
        "saved_luts": [0, 0],
        "lane_luts": [20, 30],
        "fixed_luts": [300, 300],
        "fixed_bram18": [0, 0],
    }
    return Engines(**{name: np.array(value, np.float64) for name, value in (fields | changes).items()})


def test_the_longest_layer_is_unfolded_and_the_others_are_as_small_as_that_allows() -> None:
    folding = engines().folded(np.array([0]))
    # 144 steps leave the linear layer 2**7 folds: 2**4 of the outputs, 2**3 of the inputs
    np.testing.assert_array_equal(folding.lanes, [8, 1])
    np.testing.assert_array_equal(folding.simd, [4, 16])
    # ceil(10 / 1) * ceil(128 / 16) = 80 cycles of the 144 that it may take
    np.testing.assert_array_equal(engines().cycles(folding), [144, 80])


def test_an_octave_more_time_halves_the_engines() -> None:
    folding = engines().folded(np.array([8]))
    np.testing.assert_array_equal(folding.multipliers, [4 * 4, 1 * 8])
    np.testing.assert_array_equal(engines().cycles(folding), [288, 160])


def test_an_engine_is_never_folded_below_one_multiplier() -> None:
    folding = engines().folded(np.array([255]))
    np.testing.assert_array_equal(folding.multipliers, [1, 1])
    np.testing.assert_array_equal(engines().cycles(folding), [144 * 32, 1280])


def test_channels_that_a_fold_does_not_divide_are_padded() -> None:
    odd = engines(outputs=[7, 10])
    folding = odd.folded(np.array([8]))
    # 7 outputs in 2 folds: 4 lanes
    assert folding.lanes[0] == 4
    assert odd.cycles(folding)[0] == 288


def test_logic_and_memory_by_hand() -> None:
    folding = engines().folded(np.array([0]))
    luts, dsps = engines().logic(folding)
    np.testing.assert_array_equal(luts, [32 * 5 + 8 * 20 + 300, 16 * 5 + 30 + 300])
    np.testing.assert_array_equal(dsps, [0, 0])
    depth, width = engines().memory(folding)
    np.testing.assert_array_equal(width, [32, 16])
    np.testing.assert_array_equal(depth, [9, 80])


def test_dsp_blocks_go_first_where_they_save_most() -> None:
    # 111 LUTs for half a block are 222 for one, 457 for a whole block are more
    ordered = engines(saved_luts=[111, 457], mac_dsps=[0.5, 1]).by_saving()
    np.testing.assert_array_equal(ordered.saved_luts, [457, 111])
    np.testing.assert_array_equal(ordered.inputs, [128, 4])


def test_an_unused_slot_has_no_engine() -> None:
    empty = engines(inputs=[4, 0], outputs=[8, 10], steps=[144, 0], stored_bits=[288, 0])
    folding = empty.folded(np.array([0]))
    assert folding.multipliers[1] == 0
    assert empty.cycles(folding)[1] == 0


@pytest.mark.parametrize("needed", [0, 1, 100, 254, 255])
def test_bisection_finds_the_shortest_interval_that_fits(needed: int) -> None:
    wanted = np.array([[needed], [7]])
    np.testing.assert_array_equal(shortest(lambda interval: interval >= wanted, (2, 1)), wanted)


def test_where_nothing_fits_the_interval_is_the_longest() -> None:
    assert shortest(lambda interval: interval < 0, (1, 1)).item() == 255
