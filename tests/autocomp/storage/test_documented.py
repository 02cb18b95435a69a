"""docs/storage.md is enough to read a container: a second reader, written from it alone, one number at a time."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.export import bake
from autocomp.storage import contents, pack


class Bytes:
    """Takes from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n : self.at]

    def floats(self, n: int, letter: str = "f") -> list[float]:
        return list(struct.unpack(f"<{n}{letter}", self.take(n * struct.calcsize(letter))))


def bits_of(data: bytes) -> Iterator[int]:
    return (byte >> i & 1 for byte in data for i in range(7, -1, -1))


def number(bits: Iterator[int], width: int) -> int:
    return sum(next(bits) << i for i in range(width - 1, -1, -1))


def stream(about: dict[str, Any], source: Bytes) -> list[int]:
    count, alphabet = about["count"], about["alphabet"]
    if about["coding"] == "packed":
        width = math.ceil(math.log2(alphabet)) if alphabet > 1 else 0
        bits = bits_of(source.take(math.ceil(count * width / 8)))
        return [number(bits, width) for _ in range(count)]
    inner = Bytes(source.take(about["bytes"]))
    bits = bits_of(inner.take(math.ceil(alphabet * 5 / 8)))
    lengths = [number(bits, 5) for _ in range(alphabet)]
    codes, code = {}, 0
    for length in range(1, 17):
        for symbol in range(alphabet):
            if lengths[symbol] == length:
                codes[length, code] = symbol
                code += 1
        code <<= 1
    blocks = struct.unpack(f"<{math.ceil(count / 1024)}H", inner.take(2 * math.ceil(count / 1024)))
    found: list[int] = []
    for block in blocks:
        bits = bits_of(inner.take(block))
        for _ in range(min(1024, count - len(found))):
            length, value = 0, 0
            while (length, value) not in codes:
                length, value = length + 1, value << 1 | next(bits)
            found.append(codes[length, value])
    return found


def places(about: dict[str, Any] | None, f: int, e: int, source: Bytes) -> list[tuple[int, int]]:
    if about is None:
        return [(i, j) for i in range(f) for j in range(e)]
    if about["kind"] == "bitmask":
        mask = bits_of(source.take(math.ceil(f * e / 8)))
        return [(i, j) for i in range(f) for j in range(e) if next(mask)]
    skip, at, found = 2 ** about["width"] - 1, 0, []
    for gap in stream(about["gaps"], source):
        at += gap
        if gap != skip:
            found.append(at)
            at += 1
    return [divmod(p, e) if about["kind"] == "rows" else divmod(p, f)[::-1] for p in found]


def values(about: dict[str, Any], f: int, where: list[tuple[int, int]], source: Bytes) -> list[float]:
    if about["kind"] in ("raw", "half"):
        return source.floats(len(where), "f" if about["kind"] == "raw" else "e")
    steps = source.floats(about["steps"])
    n = about["codes"]["alphabet"]
    levels = source.floats(n) if about["low"] is None else list(range(about["low"], about["low"] + n + about["without_zero"]))
    if about["low"] is not None and about["without_zero"]:
        levels.remove(0)
    codes = stream(about["codes"], source)
    if not steps:
        return [levels[code] for code in codes]
    return [levels[code] * steps[i if len(steps) > 1 else 0] for code, (i, _) in zip(codes, where, strict=True)]


def vectors(about: dict[str, Any], shape: list[int], source: Bytes) -> Tensor:
    f, channels, *kernel = shape
    widths = [min(about["width"], channels - start) for start in range(0, channels, about["width"])]
    books = [[source.floats(w) for _ in range(n)] for n, w in zip(about["entries"], widths, strict=True)]
    codes = iter(stream(about["codes"], source))
    tensor = torch.zeros(f, channels, math.prod(kernel))
    for m, book in enumerate(books):
        for i in range(f):
            for p in range(math.prod(kernel)):
                vector = book[next(codes)]
                tensor[i, m * about["width"] : m * about["width"] + len(vector), p] = torch.tensor(vector)
    return tensor.reshape(shape)


def read(path: Path) -> dict[str, Tensor]:
    file = Bytes(path.read_bytes())
    header = json.loads(file.take(struct.unpack("<Q", file.take(8))[0]))
    assert header["__metadata__"] == {"format": "autocomp.packed", "version": "1"}
    index, data = (file.data[file.at + a : file.at + b] for a, b in (header[n]["data_offsets"] for n in ("index", "data")))
    about = json.loads(zlib.decompress(index))
    assert zlib.crc32(data) == about["crc32"]
    source, state = Bytes(data), {}
    for entry in about["tensors"]:
        own, shape = Bytes(source.take(entry["bytes"])), entry["shape"]
        if entry["dtype"] != "F32":
            continue
        if len(shape) < 2:
            state[entry["name"]] = torch.tensor(own.floats(math.prod(shape))).reshape(shape)
        elif entry["values"]["kind"] == "vectors":
            state[entry["name"]] = vectors(entry["values"], shape, own)
        else:
            f, e = shape[0], math.prod(shape[1:])
            matrix = torch.zeros(f, e)
            where = places(entry.get("places"), f, e, own)
            for (i, j), value in zip(where, values(entry["values"], f, where, own), strict=True):
                matrix[i, j] = value  # a product of two single-precision numbers is exact in double, so this rounds once
            state[entry["name"]] = matrix.reshape(shape)
        assert own.at == entry["bytes"]
    return state


@pytest.mark.parametrize(
    ("choice", "form"),
    [
        (Choice(), "raw"),
        (Choice(weight_bits=5), "levels"),
        (Choice(weight_bits=2, weight_quantizer="ternary"), "bitmask+levels"),
        (Choice(weight_bits=2, weight_quantizer="trained_ternary"), "levels"),
        (Choice(weight_bits=1, weight_quantizer="binary"), "levels"),
        (Choice(weight_bits=4, weight_quantizer="power_of_two"), "levels+huffman"),
        (Choice(weight_bits=4, weight_quantizer="kmeans"), "levels"),
        (Choice(weight_bits=1, weight_quantizer="product"), "vectors"),
        (Choice(sparsity=0.95, pattern="fine"), "raw"),
        (Choice(sparsity=0.9, pattern="fine", weight_bits=4), "levels+huffman"),
        (Choice(sparsity=0.9, pattern="fine", weight_bits=4, weight_quantizer="kmeans"), "levels+huffman"),
    ],
)
def test_a_reader_written_from_the_documentation_reads_every_form(tmp_path: Path, choice: Choice, form: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(6, 20, 3), nn.Conv2d(20, 41, 3), nn.Flatten(), nn.Linear(41 * 16, 17))
    layers = Configuration(dict.fromkeys(("1", "3"), choice))
    compressed = compress(network, layers, default_methods(None))
    pack(compressed, tmp_path / "x.packed")
    assert form in " ".join(tensor.format for tensor in contents(tmp_path / "x.packed") if tensor.name in ("1.weight", "3.weight"))
    state = read(tmp_path / "x.packed")
    for name, wanted in bake(compressed).state_dict().items():
        assert torch.equal(state[name], wanted), name
