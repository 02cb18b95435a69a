"""The cache: results that are costly to make, kept under a name made from everything they depend on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

logger = logging.getLogger(__name__)


def directory() -> Path:
    """Where the cache lies: the environment variable AUTOCOMP_CACHE, or the user's cache directory."""
    return Path(os.environ.get("AUTOCOMP_CACHE") or platformdirs.user_cache_dir("autocomp"))


def digest(*parts: object) -> str:
    """A short name for the content of ``parts``: arrays by type, shape and bytes, everything else as JSON.

    Raises:
        TypeError: a part is neither an array nor JSON data.
    """
    content = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            content.update(f"{part.dtype.str}{part.shape}".encode())
            content.update(np.ascontiguousarray(part).data)
        else:
            content.update(json.dumps(part, sort_keys=True).encode())
        content.update(b"\0")
    return content.hexdigest()[:32]


def write(path: Path, fill: Callable[[Path], object]) -> None:
    """Let ``fill`` write a new file and put it at ``path`` in one step, so that no reader sees half of it.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
        new = Path(folder) / path.name
        fill(new)
        new.replace(path)


def store(path: Path, fill: Callable[[Path], object]) -> bool:
    """Write a cache entry and say whether it worked; one that cannot be written costs time, not the run."""
    try:
        write(path, fill)
    except OSError as error:
        logger.warning("The cache entry '%s' cannot be written (%s); it will be made again next time.", path, error)
        return False
    return True
