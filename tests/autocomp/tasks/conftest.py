from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

SCHEMA = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_parquet(
    path: Path,
    images: int | Sequence[np.ndarray | bytes | None],
    labels: Sequence[Any] | None = None,
    *,
    image: str = "image",
    label: str = "label",
) -> Path:
    """A file in the hub's layout.

    Images are pixels, which become PNGs, or bytes as they are, or a number of random grey 8x8 images; labels count up
    from 0 to 4 and again.
    """
    if isinstance(images, int):
        images = list(np.random.default_rng(0).integers(0, 256, (images, 8, 8), dtype=np.uint8))
    if labels is None:
        labels = [row % 5 for row in range(len(images))]
    structs = [{"bytes": encode(one) if isinstance(one, np.ndarray) else one, "path": None} for one in images]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image: pa.array(structs, SCHEMA), label: pa.array(labels)}), path)
    return path


@pytest.fixture
def parquet() -> Callable[..., Path]:
    """Writes Parquet files, see `write_parquet`."""
    return write_parquet
