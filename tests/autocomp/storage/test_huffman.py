"""Canonical Huffman codes: the textbook example, exactness, limits and damage."""

from __future__ import annotations

import heapq
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autocomp.storage import huffman
from autocomp.storage.damage import DamageError
from autocomp.storage.packing import pack_bits, packed_size


def coded(symbols: np.ndarray, alphabet: int) -> bytes:
    return huffman.encode(symbols, huffman.code_lengths(np.bincount(symbols, minlength=alphabet)))


def test_the_lengths_are_those_of_the_textbook() -> None:
    # Cormen et al., Introduction to Algorithms, section 15.3: a:45 b:13 c:12 d:16 e:9 f:5 have 1, 3, 3, 3, 4 and 4 bits.
    assert huffman.code_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


def test_the_bytes_are_those_worked_out_by_hand() -> None:
    # Counts of 0, 1, 2: 1, 2, 4, so lengths 2, 2, 1. Canonical codes: 2 -> 0, then 0 -> 10, 1 -> 11. Table of lengths at
    # 5 bits: 00010 00010 00001 0 = 0x10 0x82. Symbols 2 1 2 2 0 1 2: 0 11 0 0 10 11 0 = 0110 0101 10 -> 0x65 0x80, two bytes.
    assert coded(np.array([2, 1, 2, 2, 0, 1, 2]), 3) == bytes([0x10, 0x82, 2, 0, 0x65, 0x80])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 5000), st.integers(0, 99), st.floats(0.05, 1))
def test_symbols_come_back(alphabet: int, count: int, seed: int, skew: float) -> None:
    generator = np.random.default_rng(seed)
    symbols = np.minimum(generator.geometric(skew, count) - 1, alphabet - 1)
    assert np.array_equal(huffman.decode(coded(symbols, alphabet), count, alphabet), symbols)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200))
def test_the_total_is_the_least_that_any_prefix_code_needs(counts: list[int]) -> None:
    found = huffman.code_lengths(np.array(counts))
    if sum(c > 0 for c in counts) < 2:
        return
    assert (1 / 2.0 ** found[found > 0]).sum() == 1  # Kraft: complete
    # The cost of a Huffman tree is the sum of its inner nodes' weights, and the greedy one is the least.
    heap, least = [c for c in counts if c], 0
    heapq.heapify(heap)
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        least += merged
        heapq.heappush(heap, merged)
    assert int(found @ np.array(counts)) == least or found.max() == huffman.LONGEST


def test_the_longest_code_is_limited() -> None:
    # Fibonacci counts make the deepest tree: 30 symbols would have codes of 29 bits.
    fibonacci = [1, 1]
    while len(fibonacci) < 30:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.code_lengths(np.array(fibonacci))
    assert lengths.max() <= huffman.LONGEST
    assert (1 / 2.0**lengths).sum() == 1
    symbols = np.repeat(np.arange(30), np.minimum(fibonacci, 1000))
    assert np.array_equal(huffman.decode(huffman.encode(symbols, lengths), len(symbols), 30), symbols)


def test_the_size_that_is_counted_is_the_size_that_is_written() -> None:
    symbols = np.random.default_rng(0).geometric(0.3, 100_000).clip(max=31)
    counts = np.bincount(symbols, minlength=32)
    lengths = huffman.code_lengths(counts)
    assert len(huffman.encode(symbols, lengths)) == pytest.approx(huffman.encoded_size(counts, lengths), abs=100)


def test_a_code_is_within_a_bit_of_the_entropy() -> None:
    symbols = np.random.default_rng(0).geometric(0.4, 200_000).clip(max=15)
    share = np.bincount(symbols) / len(symbols)
    entropy = -(share[share > 0] * np.log2(share[share > 0])).sum()
    bits = 8 * len(coded(symbols, 16)) / len(symbols)
    assert entropy <= bits < entropy + 0.15  # the next integer lengths, and 2.5 bytes a block


def test_a_million_symbols_are_decoded_in_far_less_than_a_second() -> None:
    symbols = np.random.default_rng(0).geometric(0.3, 1_000_000).clip(max=31)
    data = coded(symbols, 32)
    start = time.perf_counter()
    huffman.decode(data, len(symbols), 32)
    assert time.perf_counter() - start < 1  # 0.05 s on one core; a loop over symbols takes several seconds


SYMBOLS = np.random.default_rng(1).geometric(0.3, 5000).clip(max=7)
DATA = coded(SYMBOLS, 8)
TABLE = packed_size(8, huffman.LENGTH_BITS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA[:-1], "do not add up"),
        (DATA + b"x", "do not add up"),
        (DATA[:3], "take 15 bytes, but there are 3"),  # 8 lengths of 5 bits are 5 bytes, 5 blocks of 1024 are 10
        (pack_bits(np.zeros(8, int), 5) + DATA[TABLE:], "no Huffman code"),
        (pack_bits(np.ones(8, int), 5) + DATA[TABLE:], "no Huffman code"),
        (pack_bits(np.full(8, 17), 5) + DATA[TABLE:], "no Huffman code"),
        (pack_bits(np.full(8, 3), 5) + DATA[TABLE:], "not as long as it says"),
    ],
)
def test_damage_is_found(data: bytes, message: str) -> None:
    with pytest.raises(DamageError, match=message):
        huffman.decode(data, len(SYMBOLS), 8)


@settings(deadline=None, max_examples=50)
@given(st.integers(TABLE, len(DATA) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_reads_beyond_the_data(place: int, flip: int) -> None:
    damaged = bytearray(DATA)
    damaged[place] ^= flip
    try:
        found = huffman.decode(bytes(damaged), len(SYMBOLS), 8)
    except DamageError:
        return
    assert len(found) == len(SYMBOLS)
    assert found.max() < 8
