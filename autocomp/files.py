"""Files and folders that appear whole or not at all: written beside their place first, then renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autocomp.errors import UsageError


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of the final one when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which takes its final name when the block ends without an error.

    Raises:
        UsageError: if something that is not an empty folder has the final name already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"The folder to write must be new or empty, but {folder} is not; name another one.")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left behind by a process that was killed
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
