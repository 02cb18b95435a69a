"""Storage: a compressed network in a file that is as small as its compression says."""

from __future__ import annotations

from autocomp.storage.container import Stored, contents, pack, packed_size, unpack

__all__ = ["Stored", "contents", "pack", "packed_size", "unpack"]
