"""Encoded images to one uint8 array, once; afterwards the array comes memory-mapped from the cache."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageMode, UnidentifiedImageError

from autocomp import cache
from autocomp.errors import DataError
from autocomp.tasks.base import ImageSet
from autocomp.tasks.parquet import Columns, read
from autocomp.tasks.shards import Shard

logger = logging.getLogger(__name__)

Shape = tuple[int, int, int]

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for images that are damaged or absurdly large."""


def images(shards: Sequence[Shard], *, columns: Columns, image_size: int | None, shape: Shape | None) -> ImageSet:
    """All images and labels of ``shards``, in their order.

    Args:
        shards: files.
        columns: which columns.
        image_size: height and width that images are brought to; None: all must have one size already.
        shape: channels, height and width that images must have; None: those of the first image.

    Raises:
        DataError: a file, an image or a label cannot be used.
    """
    files = [[shard.path, shard.version] for shard in shards]
    key = cache.digest("images", files, asdict(columns), image_size, shape)
    pixels, labels = (cache.directory() / "images" / f"{key}-{part}.npy" for part in ("pixels", "labels"))
    try:
        # np.asarray leaves a plain read-only array; an np.memmap would take its own way through pickle.
        return ImageSet(np.asarray(np.load(pixels, mmap_mode="r")), np.load(labels))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError) as error:
        logger.warning("The cached images %s are damaged and are decoded again: %s", pixels, error)
    decoded = _decode_all(shards, columns, image_size, shape)
    if all(cache.store(path, partial(_save, array)) for path, array in ((labels, decoded.labels), (pixels, decoded.images))):
        return ImageSet(np.asarray(np.load(pixels, mmap_mode="r")), decoded.labels)
    return decoded


def _save(array: NDArray[np.generic], path: os.PathLike[str]) -> None:
    np.save(path, array)


def _decode_all(shards: Sequence[Shard], columns: Columns, image_size: int | None, shape: Shape | None) -> ImageSet:
    logger.info("Decoding the images of %s", ", ".join(shard.path for shard in shards))
    pixels, labels = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for shard in shards:
            for start, encoded, truth in read(shard, columns):
                places = [f"row {row} of '{shard.path}'" for row in range(start, start + len(encoded))]
                shape = shape or _shape(encoded[0], places[0], image_size)
                pixels.append(np.stack(list(pool.map(partial(_decode, image_size=image_size, shape=shape), encoded, places))))
                labels.append(_labels(truth, places))
    if not pixels:
        raise DataError(f"A split must hold at least one row, but {', '.join(shard.path for shard in shards)} is empty.")
    return ImageSet(np.concatenate(pixels), np.concatenate(labels))


def _shape(encoded: bytes | None, place: str, image_size: int | None) -> Shape:
    """Shape of a data set, from its first image: one channel if that is grey, else three."""
    image = _open(encoded, place)
    channels = 1 if ImageMode.getmode(image.mode).basemode == "L" else 3
    return channels, image_size or image.height, image_size or image.width


def _decode(encoded: bytes | None, place: str, *, image_size: int | None, shape: Shape) -> NDArray[np.uint8]:
    channels, height, width = shape
    try:
        image = _open(encoded, place).convert("L" if channels == 1 else "RGB")
        if image_size is not None:
            image = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    except UNREADABLE as error:
        raise DataError(f"The image in {place} cannot be decoded: {error}") from None
    if (image.height, image.width) != (height, width):
        sizes = f"{image.height}x{image.width}, not {height}x{width}"
        raise DataError(f"All images must have one size, but that in {place} is {sizes}; set task.image_size to resize them.")
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def _open(encoded: bytes | None, place: str) -> Image.Image:
    if encoded is None:
        raise DataError(f"The image in {place} is missing: it has no bytes.")
    try:
        return Image.open(io.BytesIO(encoded))
    except UNREADABLE as error:
        reason = "no image format is recognised" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"The image in {place} cannot be decoded: {reason}") from None


def _labels(truth: Sequence[int | None], places: Sequence[str]) -> NDArray[np.int64]:
    missing = [place for label, place in zip(truth, places, strict=True) if label is None]
    if missing:
        raise DataError(f"Every image needs a label, but {missing[0]} has none.")
    return np.array(truth, dtype=np.int64)
