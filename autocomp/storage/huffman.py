"""Canonical Huffman coding of small integers (Huffman 1952; Schwartz and Kallick 1964), as Deep Compression ends with.

Symbols stand in blocks of `BLOCK`; each block begins on a byte and its length is written, so that many are decoded at once.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.damage import DamageError
from autocomp.storage.packing import Codes, pack_bits, packed_size, unpack_bits

Lengths = NDArray[np.int64]
LONGEST = 16
"""Bits of the longest code: a table of 2^16 entries then decodes every symbol with one look-up."""

LENGTH_BITS = 5
LARGEST = 4096
"""Symbols of the largest alphabet that is coded; beyond, the table of lengths and codes of up to 16 bits gain little."""

BLOCK = 1024
_TOGETHER = 1 << 10
"""Blocks that are written at a time."""


def code_lengths(counts: NDArray[np.int64]) -> Lengths:
    """Bits of each symbol's code, 0 for symbols that do not occur; at most `LONGEST`.

    Huffman's construction: the two rarest become one, until one is left. Where a code comes out too long, counts are halved
    (never to zero), which flattens the tree.

    Args:
        counts: how often each symbol occurs, at most `LARGEST` of them.
    """
    used = np.flatnonzero(counts)
    lengths = np.zeros(len(counts), np.int64)
    weights = counts[used]
    if len(used) == 1:
        lengths[used] = 1
    while len(used) > 1:
        lengths[used] = _depths(weights)
        if lengths.max() <= LONGEST:
            break
        weights = (weights + 1) // 2
    return lengths


def _depths(weights: NDArray[np.int64]) -> Lengths:
    """Depth of each leaf in the Huffman tree, in time n log n: parents are numbered after their children."""
    n = len(weights)
    heap = [(int(weight), node) for node, weight in enumerate(weights)]
    heapq.heapify(heap)
    parent = np.zeros(2 * n - 1, np.int64)
    for node in range(n, 2 * n - 1):
        first, one = heapq.heappop(heap)
        second, other = heap[0]
        heapq.heapreplace(heap, (first + second, node))
        parent[one] = parent[other] = node
    depth = np.zeros(2 * n - 1, np.int64)
    for node in range(2 * n - 3, -1, -1):
        depth[node] = depth[parent[node]] + 1
    return depth[:n]


def encoded_size(counts: NDArray[np.int64], lengths: Lengths) -> float:
    """Bytes of `encode`, up to the rounding of each block to whole bytes, for which half a byte is counted."""
    blocks = -(-int(counts.sum()) // BLOCK)
    return packed_size(len(counts), LENGTH_BITS) + float(counts @ lengths) / 8 + 2.5 * blocks


def _canonical(lengths: Lengths) -> NDArray[np.int64]:
    """Codes counted up from 0 by rising length, and by symbol among equals; each length's first is shifted left by the growth."""
    order = np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]
    room = 1 << (LONGEST - lengths[order])
    codes = np.zeros(len(lengths), np.int64)
    codes[order] = (np.cumsum(room) - room) >> (LONGEST - lengths[order])
    return codes


def encode(symbols: Codes, lengths: Lengths) -> bytes:
    """The table of lengths (`LENGTH_BITS` each), each block's bytes as little-endian uint16, and the blocks.

    Args:
        symbols: ``n`` integers, all with a code.
        lengths: of the codes, from `code_lengths`.
    """
    codes = _canonical(lengths)
    sizes, blocks = [], []
    for start in range(0, len(symbols), BLOCK * _TOGETHER):
        part = symbols[start : start + BLOCK * _TOGETHER]
        size, block = _write(codes[part], lengths[part])
        sizes.append(size.astype("<u2").tobytes())
        blocks.append(block)
    return pack_bits(lengths, LENGTH_BITS) + b"".join(sizes) + b"".join(blocks)


def _write(codes: NDArray[np.int64], bits: Lengths) -> tuple[NDArray[np.int64], bytes]:
    """Bytes of each block, and the blocks."""
    filling = -len(codes) % BLOCK
    codes, bits = (np.pad(values, (0, filling)).reshape(-1, BLOCK) for values in (codes, bits))
    ends = np.cumsum(bits, axis=1)
    sizes = -(-ends[:, -1] // 8)
    starts = ends - bits + 8 * (np.cumsum(sizes) - sizes)[:, None]
    # Each code is put into a window of 48 bits that begins with its 32-bit word. Codes do not overlap, so that sums are
    # unions, and they stay below 2^53, so that the sums of bincount are exact.
    word, window = (starts >> 5).ravel(), (codes << (48 - bits - (starts & 31))).ravel()
    n = int(sizes.sum()) // 4 + 2
    words = np.bincount(word, window >> 16, n) + np.bincount(word + 1, (window & 0xFFFF) << 16, n + 1)[:n]
    return sizes, words.astype(np.uint32).astype(">u4").tobytes()[: int(sizes.sum())]


def decode(data: bytes, count: int, alphabet: int) -> NDArray[np.int64]:
    """The inverse of `encode`: ``count`` symbols below ``alphabet``.

    Raises:
        DamageError: if the lengths form no Huffman code or the blocks are not as long as they say.
    """
    blocks = -(-count // BLOCK)
    table_end = packed_size(alphabet, LENGTH_BITS)
    head = table_end + 2 * blocks
    if len(data) < head:
        raise DamageError(f"{alphabet} code lengths and {blocks} block lengths take {head} bytes, but there are {len(data)}")
    table, longest = _table(unpack_bits(data[:table_end], alphabet, LENGTH_BITS))
    ends = np.cumsum(np.frombuffer(data, "<u2", blocks, table_end), dtype=np.int64)
    if head + (int(ends[-1]) if blocks else 0) != len(data):
        raise DamageError(f"the Huffman blocks do not add up to the {len(data) - head} bytes that there are")
    return _read(np.frombuffer(data, np.uint8, offset=head), ends, count, table, longest)


def _table(lengths: Lengths) -> tuple[NDArray[np.int32], int]:
    """For every ``longest`` bits that can come next: symbol times 32 plus the length of its code; and ``longest``."""
    used = np.count_nonzero(lengths)
    longest = int(lengths.max(initial=0))
    rooms = np.where(lengths > 0, 1 << np.maximum(longest - lengths, 0), 0)
    if longest > LONGEST or not used or (rooms.sum() != 1 << longest and not (used == longest == 1)):
        raise DamageError("the lengths of the codes form no Huffman code")
    order = np.argsort(lengths, kind="stable")[len(lengths) - used :]
    entries = np.repeat(order << LENGTH_BITS | lengths[order], rooms[order])
    return np.resize(entries, 1 << longest).astype(np.int32), longest  # a lone symbol has half of its table


def _read(stream: NDArray[np.uint8], ends: NDArray[np.int64], count: int, table: NDArray[np.int32], longest: int) -> NDArray[np.int64]:
    """One symbol of every block in each round."""
    padded = np.concatenate([stream, np.zeros(BLOCK * LONGEST // 8 + 3, np.uint8)]).astype(np.uint32)  # room for what damage reads
    windows = (padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]).astype(np.int32)
    at = 8 * np.concatenate([[0], ends[:-1]])
    symbols = np.zeros((min(BLOCK, count), len(ends)), np.int32)
    last = count - (len(ends) - 1) * BLOCK
    for i, row in enumerate(symbols):
        here = at if i < last else at[:-1]  # a view: advancing it advances `at`
        entries = table[windows[here >> 3] >> (24 - longest - (here & 7)) & ((1 << longest) - 1)]
        row[: len(here)] = entries
        here += entries & 31
    if (-(-at // 8) != ends).any():
        raise DamageError("a Huffman block is not as long as it says")
    return (symbols.T.ravel()[:count] >> LENGTH_BITS).astype(np.int64)
