"""Stream: many small integers, packed at a fixed width or Huffman-coded, whichever is smaller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.storage import huffman
from autocomp.storage.damage import DamageError
from autocomp.storage.packing import Codes, pack_bits, packed_size, unpack_bits, width_of
from autocomp.storage.reading import Reader

Described = dict[str, Any]
"""What the index says of a part; JSON."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a stream would be stored.

    Attributes:
        alphabet: codes are 0 to this minus one.
        lengths: of the Huffman codes; None where packing is smaller.
        size: bytes; for Huffman an estimate that is right to a byte per block.
    """

    alphabet: int
    lengths: NDArray[np.int64] | None
    size: float


Planner = Callable[[NDArray[np.int64]], Plan]


def plan_packed(counts: NDArray[np.int64]) -> Plan:
    """Packing a stream in which the codes occur so often."""
    return Plan(len(counts), None, packed_size(int(counts.sum()), width_of(len(counts))))


def plan_smaller(counts: NDArray[np.int64]) -> Plan:
    """The smaller way to store a stream in which the codes occur so often."""
    alphabet, total, packed = len(counts), int(counts.sum()), plan_packed(counts)
    if 1 < alphabet <= huffman.LARGEST and total:
        lengths = huffman.code_lengths(counts)
        size = huffman.encoded_size(counts, lengths)
        if size < packed.size:
            return Plan(alphabet, lengths, size)
    return packed


def write_stream(codes: Codes, planned: Plan) -> tuple[Described, bytes]:
    """What the index says of the stream, and its bytes."""
    about: Described = {"alphabet": planned.alphabet, "count": len(codes)}
    if planned.lengths is None:
        return about | {"coding": "packed"}, pack_bits(codes, width_of(planned.alphabet))
    data = huffman.encode(codes, planned.lengths)
    return about | {"coding": "huffman", "bytes": len(data)}, data


def read_stream(about: Described, reader: Reader) -> NDArray[np.int64]:
    """The inverse of `write_stream`.

    Raises:
        DamageError: if bytes are missing, the coding is unknown or a code lies outside the alphabet.
    """
    count, alphabet = about["count"], about["alphabet"]
    if about["coding"] == "huffman":
        return huffman.decode(reader.take(about["bytes"]), count, alphabet)
    if about["coding"] != "packed":
        raise DamageError(f"a stream is packed or huffman, not '{about['coding']}'")
    width = width_of(alphabet)
    codes = unpack_bits(reader.take(packed_size(count, width)), count, width)
    if codes.max(initial=0) >= max(alphabet, 1):
        raise DamageError(f"a code is {codes.max()} where there are {alphabet}")
    return codes
