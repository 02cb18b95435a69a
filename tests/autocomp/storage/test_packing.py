"""Packed bits, bitmasks and relative indices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocomp.storage.bitmask import read_mask, write_mask
from autocomp.storage.damage import DamageError
from autocomp.storage.packing import pack_bits, packed_size, unpack_bits, width_of
from autocomp.storage.sparse_index import gap_counts, gaps_of, positions_of, zeros_before


def test_codes_stand_behind_one_another_most_significant_bit_first() -> None:
    # 3 bits each: 5, 2, 7, 1 = 101 010 111 001 -> 1010 1011 | 1001 0000
    assert pack_bits(np.array([5, 2, 7, 1]), 3) == bytes([0xAB, 0x90])


def test_the_width_is_that_of_the_largest_code() -> None:
    assert [width_of(n) for n in (0, 1, 2, 3, 4, 5, 256, 257)] == [0, 0, 1, 2, 2, 3, 8, 9]


@settings(deadline=None)
@given(st.integers(0, 32), st.integers(0, 200), st.integers(0, 99))
def test_codes_of_every_width_come_back(width: int, count: int, seed: int) -> None:
    codes = np.random.default_rng(seed).integers(0, 1 << width, count)
    data = pack_bits(codes, width)
    assert len(data) == packed_size(count, width)
    assert np.array_equal(unpack_bits(data, count, width), codes)


def test_many_codes_come_back_over_the_seams_of_the_chunks() -> None:
    codes = np.random.default_rng(0).integers(0, 1 << 5, (1 << 21) + 13)
    assert np.array_equal(unpack_bits(pack_bits(codes, 5), len(codes), 5), codes)


def test_codes_that_are_missing_or_left_over_are_damage() -> None:
    for data in (b"ab", b"abcd"):
        with pytest.raises(DamageError, match=f"8 codes of 3 bits take 3 bytes, not {len(data)}"):
            unpack_bits(data, 8, 3)


def test_a_mask_has_a_bit_for_each_weight() -> None:
    # 10 weights, non-zero 0, 3 and 9: 1001 0000 | 01 and zeros
    assert write_mask(np.array([0, 3, 9]), 10) == bytes([0x90, 0x40])
    assert read_mask(bytes([0x90, 0x40]), 10).tolist() == [0, 3, 9]
    with pytest.raises(DamageError, match="a mask of 10 weights takes 2 bytes, not 1"):
        read_mask(b"x", 10)


def test_gaps_are_counted_in_zeros_and_long_ones_are_skipped_over() -> None:
    # Figure 2 of Deep Compression: non-zeros at 1, 4 and 15, 3 bits. Zeros before them: 1, 2, 10. The largest code is 7, which
    # skips 7 zeros; 10 = 7 + 3. The paper writes a zero weight there, which this format does without.
    zeros = zeros_before(np.array([1, 4, 15]))
    assert zeros.tolist() == [1, 2, 10]
    assert gaps_of(zeros, 3).tolist() == [1, 2, 7, 3]
    assert positions_of(np.array([1, 2, 7, 3]), 3, 16).tolist() == [1, 4, 15]
    assert gap_counts(zeros, 3).tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
    # 7 zeros are one skip and a gap of none
    assert gaps_of(np.array([7]), 3).tolist() == [7, 0]


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 2000), st.floats(0, 1), st.integers(0, 99))
def test_places_come_back_from_their_gaps(width: int, size: int, density: float, seed: int) -> None:
    positions = np.flatnonzero(np.random.default_rng(seed).random(size) < density)
    zeros = zeros_before(positions)
    gaps = gaps_of(zeros, width)
    assert np.array_equal(positions_of(gaps, width, size), positions)
    assert np.array_equal(np.bincount(gaps, minlength=1 << width), gap_counts(zeros, width))


def test_gaps_that_lead_beyond_the_last_weight_are_damage() -> None:
    with pytest.raises(DamageError, match="lead to weight 17 of 16"):
        positions_of(np.array([1, 2, 7, 4]), 3, 16)
