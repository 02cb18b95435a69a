"""Formats of one weight tensor: where its stored values stand, and how they are written; the smallest pair is taken.

A tensor is a matrix ``f x e`` (filters, weights of a filter). Its *places* are ``dense`` (all), ``bitmask`` or a relative
index over ``rows`` or ``columns``; its *values* are ``raw`` numbers, ``levels`` or, dense only, ``vectors``. Every integer of
either is a stream that is packed or Huffman-coded. docs/storage.md has the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.storage.bitmask import read_mask, write_mask
from autocomp.storage.damage import DamageError
from autocomp.storage.levels import Floats, Levels, find_levels
from autocomp.storage.reading import Reader
from autocomp.storage.sparse_index import WIDTHS, gap_counts, gaps_of, positions_of, zeros_before
from autocomp.storage.streams import Described, Plan, Planner, plan_smaller, read_stream, write_stream
from autocomp.storage.vectors import Vectors, find_vectors, places_by_channels

Scan = Callable[[NDArray[Any]], NDArray[Any]]
"""Takes the stored entries out of a matrix, in the order in which they are written."""

_DENSEST = 0.75
"""Share of non-zeros above which a relative index can hardly be smaller than a bitmask."""

_FEW = 16
"""Levels that are so few that codebooks of vectors are not looked for."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One way to write places or values; ``write`` is asked only of the chosen one."""

    size: float
    write: Callable[[], tuple[Described, bytes]]
    scan: Scan = np.ravel


def encode(weights: Floats, plan: Planner = plan_smaller) -> tuple[Described, bytes]:
    """The smallest exact form of a kernel ``f x c x ...``: what the index says of it, and its bytes.

    Zeros lose their sign, which no sum of products can tell; everything else comes back bit for bit.
    """
    raw: tuple[Described, bytes] = {"values": {"kind": "raw"}}, weights.astype("<f4").tobytes()
    if not weights.size or not np.isfinite(weights).all():
        return raw
    matrix = weights.reshape(len(weights), -1) + np.float32(0)  # -0 + 0 is 0
    found = find_levels(matrix)
    dense = _Part(0.0, lambda: ({}, b""))
    sparse = min(_sparse_places(matrix, plan), key=lambda part: part.size, default=None)
    pairs = [(places, values) for places in filter(None, (dense, sparse)) for values in _values(matrix, found, places, plan)]
    if weights.shape[1] > 1 and not any(levels.steps is not None or len(levels.levels) <= _FEW for levels in found):
        pairs += [(dense, values) for values in _vectors(weights, plan)]
    places, values = min(pairs, key=lambda pair: pair[0].size + pair[1].size)
    (where, first), (what, second) = places.write(), values.write()
    written: tuple[Described, bytes] = where | {"values": what}, first + second
    return min(raw, written, key=lambda form: len(form[1]))


def _sparse_places(matrix: Floats, plan: Planner) -> Iterator[_Part]:
    rows = np.flatnonzero(matrix)
    if len(rows) == matrix.size:
        return
    mask = write_mask(rows, matrix.size)
    yield _Part(len(mask), lambda: ({"places": {"kind": "bitmask"}}, mask), lambda entries: np.asarray(entries.ravel()[rows]))
    if len(rows) > _DENSEST * matrix.size:
        return
    yield _relative(zeros_before(rows), plan, "rows", lambda entries: np.asarray(entries.ravel()[rows]))
    columns = np.flatnonzero(matrix.T)
    yield _relative(zeros_before(columns), plan, "columns", lambda entries: np.asarray(entries.T.ravel()[columns]))


def _relative(zeros: NDArray[np.int64], plan: Planner, order: str, scan: Scan) -> _Part:
    width, planned = min(((width, plan(gap_counts(zeros, width))) for width in WIDTHS), key=lambda pair: pair[1].size)

    def write() -> tuple[Described, bytes]:
        gaps, data = write_stream(gaps_of(zeros, width), planned)
        return {"places": {"kind": order, "width": width, "gaps": gaps}}, data

    return _Part(planned.size, write, scan)


def _values(matrix: Floats, found: list[Levels], places: _Part, plan: Planner) -> Iterator[_Part]:
    """The ways to write the entries that places leave."""
    entries = places.scan(matrix)
    half = entries.astype(np.float16) if np.abs(entries).max(initial=0) < np.finfo(np.float16).max else None
    if half is not None and np.array_equal(half.astype(np.float32), entries):
        yield _Part(half.nbytes, lambda: ({"kind": "half"}, half.astype("<f2").tobytes()))
    yield _Part(entries.nbytes, lambda: ({"kind": "raw"}, entries.astype("<f4").tobytes()))
    for levels in found:
        yield _levels(levels, places, plan, is_sparse=places.scan is not np.ravel)


def _levels(found: Levels, places: _Part, plan: Planner, *, is_sparse: bool) -> _Part:
    values, codes = found.levels, places.scan(found.codes)
    if is_sparse and found.zero is not None:  # no zero is ever written
        codes = codes - (codes > found.zero)
        values = np.delete(values, found.zero)
    steps = b"" if found.steps is None else found.steps.astype("<f4").tobytes()
    table, low = values.astype("<f4").tobytes(), None
    if len(values) and np.array_equal(found.levels, int(found.levels[0]) + np.arange(len(found.levels))):
        table, low = b"", int(found.levels[0])
    planned: Plan = plan(np.bincount(codes, minlength=len(values)))

    def write() -> tuple[Described, bytes]:
        stream, data = write_stream(codes, planned)
        about = {"kind": "levels", "steps": len(steps) // 4, "low": low, "without_zero": len(values) < len(found.levels)}
        return about | {"codes": stream}, steps + table + data

    return _Part(len(steps) + len(table) + planned.size, write)


def _vectors(weights: Floats, plan: Planner) -> Iterator[_Part]:
    found = find_vectors(places_by_channels(weights + np.float32(0)))
    if found:
        planned = plan(np.bincount(found.codes.ravel(), minlength=found.alphabet))
        yield _Part(found.size, lambda: _write_vectors(found, planned))


def _write_vectors(found: Vectors, planned: Plan) -> tuple[Described, bytes]:
    stream, data = write_stream(found.codes.ravel(), planned)
    books = b"".join(book.astype("<f4").tobytes() for book in found.codebooks)
    return {"kind": "vectors", "width": found.width, "entries": [len(b) for b in found.codebooks], "codes": stream}, books + data


def decode(about: Described, shape: tuple[int, ...], reader: Reader) -> Floats:
    """The inverse of `encode`.

    Raises:
        DamageError: if the bytes do not fit the description.
    """
    size = int(np.prod(shape))
    values = about["values"]
    if values["kind"] == "vectors":
        return _read_vectors(values, shape, reader)
    rows, columns = shape[0], size // max(shape[0], 1)
    order, positions = _read_places(about.get("places"), size, reader)
    count = size if positions is None else len(positions)
    steps, entries = _read_values(values, rows, count, reader)
    if positions is None:
        flat = entries
    else:
        flat = np.zeros(size, np.float32)
        flat[positions] = entries
    matrix = flat.reshape(columns, rows).T if order == "columns" else flat.reshape(rows, columns)
    return np.ascontiguousarray(matrix if steps is None else matrix * steps[:, None]).reshape(shape)


def _read_places(places: Described | None, size: int, reader: Reader) -> tuple[str, NDArray[np.int64] | None]:
    if places is None:
        return "rows", None
    if places["kind"] == "bitmask":
        return "rows", read_mask(reader.take(-(-size // 8)), size)
    if places["kind"] not in ("rows", "columns"):
        raise DamageError(f"places are a bitmask, rows or columns, not '{places['kind']}'")
    return places["kind"], positions_of(read_stream(places["gaps"], reader), places["width"], size)


def _read_values(values: Described, rows: int, count: int, reader: Reader) -> tuple[Floats | None, Floats]:
    """Steps, if there are any, and ``count`` values."""
    if values["kind"] in ("raw", "half"):
        return None, reader.array("<f4" if values["kind"] == "raw" else "<f2", count).astype(np.float32)
    if values["kind"] != "levels":
        raise DamageError(f"values are raw, half, levels or vectors, not '{values['kind']}'")
    if values["steps"] not in (0, 1, rows) or values["codes"]["count"] != count:
        raise DamageError(f"{values['steps']} steps and {values['codes']['count']} codes do not fit {rows} filters and {count} values")
    steps = reader.array("<f4", values["steps"]) if values["steps"] else None
    alphabet = values["codes"]["alphabet"]
    if values["low"] is None:
        levels = reader.array("<f4", alphabet)
    else:
        levels = np.arange(values["low"], values["low"] + alphabet + values["without_zero"], dtype=np.float32)
        levels = levels[levels != 0] if values["without_zero"] else levels
    return steps, levels.astype(np.float32)[read_stream(values["codes"], reader)]


def _read_vectors(values: Described, shape: tuple[int, ...], reader: Reader) -> Floats:
    """Places by channels, put back into the kernel's order."""
    channels, width, entries = shape[1], values["width"], values["entries"]
    places = int(np.prod(shape)) // max(channels, 1)
    spaces = [min(width, channels - start) for start in range(0, channels, width)]
    if len(spaces) != len(entries) or values["codes"]["count"] != len(spaces) * places:
        raise DamageError(
            f"{len(entries)} codebooks and {values['codes']['count']} codes do not fit {len(spaces)} sub-spaces of {places} places"
        )
    books = [reader.array("<f4", n * w).reshape(n, w) for n, w in zip(entries, spaces, strict=True)]
    codes = read_stream(values["codes"], reader).reshape(len(spaces), places)
    matrix = np.concatenate([book[row] for book, row in zip(books, codes, strict=True)], axis=1)
    moved = matrix.reshape(shape[0], *shape[2:], channels)
    return np.ascontiguousarray(np.moveaxis(moved, -1, 1), np.float32)
