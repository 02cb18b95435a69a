"""Finding the Parquet files of a data set: folders, files, URLs and object stores, sorted into splits."""

from __future__ import annotations

import logging
import re
import shutil
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from autocomp import cache
from autocomp.errors import DataError

logger = logging.getLogger(__name__)

SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Words in file or folder names, and the split that they announce."""

TIMEOUT_S = 60
"""How long a web server may stay silent."""


@dataclass(frozen=True)
class Shard:
    """One Parquet file.

    Args:
        filesystem: a ``pyarrow.fs.FileSystem``.
        path: inside the file system.
        relative: path inside the folder that was asked for, or a file's name and its folder; says which split it is.
        version: size and time of the last change.
    """

    filesystem: Any
    path: str
    relative: str
    version: str

    @property
    def split(self) -> str | None:
        """Train, validation or test, after a word in the file's name or else the nearest folder of that name."""
        *folders, name = PurePosixPath(self.relative.lower()).parts
        for word in [*re.split(r"[^a-z]+", name), *reversed(folders)]:
            if word in SPLITS:
                return SPLITS[word]
        return None


def first_line(error: Exception) -> str:
    """What Arrow says, without its many lines of detail."""
    return str(error).partition("\n")[0]


def find(locations: Sequence[str]) -> dict[str, list[Shard]]:
    """The files at ``locations`` (files, folders, URLs) by split; if no name says a split, all are for training.

    Raises:
        DataError: a location is missing, cannot be read or holds no Parquet file, or there is no training split.
    """
    shards = [shard for location in locations for shard in _locate(location)]
    splits = defaultdict(list)
    for shard in shards:
        splits[shard.split].append(shard)
    unnamed = splits.pop(None, [])
    if not splits:
        return {"train": unnamed}
    if unnamed:
        logger.warning("Left out: %s, whose names say neither train, validation nor test", ", ".join(s.relative for s in unnamed))
    if "train" not in splits:
        raise DataError(f"A data set needs a training split, but {', '.join(locations)} has only: {', '.join(sorted(map(str, splits)))}.")
    return {str(name): found for name, found in splits.items()}


def _locate(location: str) -> list[Shard]:
    """The Parquet files at one location."""
    source = str(_download(location)) if location.startswith(("http://", "https://")) else location
    try:
        filesystem, path = fs.FileSystem.from_uri(source) if "://" in source else (fs.LocalFileSystem(), source)
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            raise DataError(f"There is no data at '{location}'; set task.data to a Parquet file, a folder of them or a URL.")
        if info.type == fs.FileType.File:
            return [_shard(filesystem, info, _name(path))]
        infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"The data at '{location}' cannot be read: {first_line(error)}") from None
    files = sorted((info for info in infos if info.extension == "parquet"), key=lambda info: info.path)
    if not files:
        raise DataError(f"A folder of data must hold *.parquet files, but '{location}' holds none.")
    return [_shard(filesystem, info, info.path.removeprefix(path).lstrip("/")) for info in files]


def _shard(filesystem: Any, info: Any, relative: str) -> Shard:
    return Shard(filesystem, info.path, relative, f"{info.size} {info.mtime_ns}")


def _name(path: str) -> str:
    """A file's name and the folder it lies in: hubs keep ``train/0000.parquet`` beside ``test/0000.parquet``."""
    return "/".join(PurePosixPath(path).parts[-2:]).lstrip("/")


def _download(url: str) -> Path:
    """The local copy of a file on the web; it is fetched again when the server says that it has changed."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            version = [response.headers[name] for name in ("ETag", "Last-Modified", "Content-Length")]
            path = cache.directory() / "downloads" / cache.digest(url, version) / _name(url.partition("?")[0])
            if not path.exists():
                logger.info("Downloading %s", url)
                cache.write(path, lambda new: _save(response, new))
    except (OSError, ValueError, HTTPException) as error:
        raise DataError(f"The data at '{url}' cannot be downloaded to '{cache.directory()}': {error}") from None
    return path


def _save(response: Any, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(response, file)
    length = response.headers["Content-Length"]
    if length is not None and path.stat().st_size != int(length):
        raise OSError(f"the connection ended after {path.stat().st_size} of {length} bytes")
