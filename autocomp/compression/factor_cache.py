"""A bounded store of decompositions, so that a trial on known weights only truncates."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import TypeVar, cast

from torch import Tensor

LIMIT = 256 * 2**20
"""Bytes that are kept in one process: every kind of a ResNet-20 at one rank takes 8 MB in all."""

Factors = TypeVar("Factors", bound=tuple[Tensor, ...])


class FactorCache:
    """Tuples of tensors by key; those that were not asked for longest go first.

    Args:
        limit: bytes that are kept; a single larger entry is not kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.size = 0
        self._entries: OrderedDict[Hashable, tuple[Tensor, ...]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable, compute: Callable[[], Factors]) -> Factors:
        """The entry of a key, which is computed if it is not there."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return cast(Factors, self._entries[key])
        found = compute()
        with self._lock:
            if key not in self._entries:
                self._entries[key] = found
                self.size += _bytes(found)
            while self.size > self.limit:
                self.size -= _bytes(self._entries.popitem(last=False)[1])
        return found


def _bytes(factors: tuple[Tensor, ...]) -> int:
    return sum(factor.untyped_storage().nbytes() for factor in factors)


def content_key(weight: Tensor) -> Hashable:
    """The same for equal weights, whatever copy of a network they belong to."""
    plain = weight.detach().cpu().contiguous()
    return hashlib.blake2b(plain.numpy().tobytes(), digest_size=16).digest(), str(plain.dtype), tuple(plain.shape)
