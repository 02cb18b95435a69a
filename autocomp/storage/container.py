"""The container: a compressed network in one safetensors file, each weight in its smallest exact form.

docs/storage.md describes every byte of it; a change there raises `VERSION`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor, nn

from autocomp.errors import UsageError
from autocomp.export import bake
from autocomp.files import new_file
from autocomp.storage.damage import DamageError
from autocomp.storage.formats import decode, encode
from autocomp.storage.reading import Reader
from autocomp.storage.streams import Described, Planner, plan_packed, plan_smaller

FORMAT = "autocomp.packed"
VERSION = "1"
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_EXTRA = "_extra_state"  # how torch calls what a module keeps beside
_WRONG = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError, zlib.error, RecursionError)
"""What reading an index that no writer made can raise; `DamageError` and JSON's error are among them."""


@dataclass(frozen=True)
class Stored:
    """One tensor of a container.

    Attributes:
        name: in the state dictionary.
        shape: of the tensor.
        format: of places and values, such as ``rows+levels+huffman``.
        size_bytes: without its share of the index.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    size_bytes: int


def pack(network: nn.Module, path: Path, *, huffman: bool = True) -> int:
    """Write the network's weights, as its parametrizations compute them, and its buffers.

    Args:
        network: is left as it was.
        path: appears whole or not at all; a file that is there is replaced.
        huffman: whether streams may be Huffman-coded; if not, they are packed at a fixed width.

    Returns:
        The length of the file in bytes.

    Raises:
        UsageError: if a tensor has a type that the container has no name for.
    """
    data, _ = _file(bake(network).state_dict(), plan_smaller if huffman else plan_packed)
    with new_file(path) as part:
        part.write_bytes(data)
    return len(data)


def packed_size(network: nn.Module) -> tuple[int, int]:
    """Length of the file into which the network is exported, and how much of it are tensors, bytes; the rest is their index.

    What modules keep beside parameters and buffers is no part of it: an exported program has it among its operations.
    """
    state = {name: value for name, value in bake(network).state_dict().items() if not name.endswith(_EXTRA)}
    file, tensors = _file(state, plan_smaller)
    return len(file), len(tensors)


def _file(state: Mapping[str, Any], plan: Planner) -> tuple[bytes, bytes]:
    """A state dictionary as a file, and the tensors in it."""
    entries, parts = [], []
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):
            about, data = _entry(name, tensor.detach(), plan)
            entries.append(about | {"bytes": len(data)})
            parts.append(data)
    data = b"".join(parts)
    index = zlib.compress(json.dumps({"crc32": zlib.crc32(data), "tensors": entries}, separators=(",", ":")).encode(), 9)
    tensors = {"data": np.frombuffer(data, np.uint8), "index": np.frombuffer(index, np.uint8)}
    return save(tensors, {"format": FORMAT, "version": VERSION}), data  # `save_file` would let nobody else read it


def _entry(name: str, tensor: Tensor, plan: Planner) -> tuple[Described, bytes]:
    if tensor.dtype not in _NAMES:
        raise UsageError(f"A packed network holds {', '.join(_NAMES.values())}, but '{name}' is {tensor.dtype}.")
    about: Described = {"name": name, "shape": list(tensor.shape), "dtype": _NAMES[tensor.dtype]}
    if tensor.dtype == torch.float32 and tensor.ndim > 1:
        described, data = encode(tensor.contiguous().numpy(), plan)
        return about | described, data
    flat = tensor.contiguous().flatten().view(torch.uint8)
    return about | {"values": {"kind": "raw"}}, flat.numpy().tobytes()


def unpack(path: Path) -> dict[str, Tensor]:
    """The state dictionary of the network that was packed; load it into the plain network of the same shapes.

    Raises:
        UsageError: if there is no such file or it is damaged.
    """
    index, data = _read(path)
    reader = Reader(data)
    try:
        if zlib.crc32(data) != index["crc32"]:
            raise DamageError("its checksum is wrong")
        state = {about["name"]: _tensor(about, Reader(reader.take(about["bytes"]))) for about in index["tensors"]}
        reader.close()
    except _WRONG as error:
        raise _damaged(path, error) from error
    return state


def contents(path: Path) -> tuple[Stored, ...]:
    """What the index of a container says, in its order.

    Raises:
        UsageError: if there is no such file or it is damaged.
    """
    index, _ = _read(path)
    try:
        return tuple(Stored(t["name"], tuple(t["shape"]), "+".join(_format(t)), t["bytes"]) for t in index["tensors"])
    except _WRONG as error:
        raise _damaged(path, error) from error


def _format(about: Described) -> Iterator[str]:
    streams = []
    if "places" in about:
        yield about["places"]["kind"]
        streams.append(about["places"].get("gaps"))
    yield about["values"]["kind"]
    streams.append(about["values"].get("codes"))
    if any(stream and stream["coding"] == "huffman" for stream in streams):
        yield "huffman"


def _read(path: Path) -> tuple[Described, bytes]:
    """Index and data, once format and version are known to be right."""
    if not path.is_file():
        raise UsageError(f"There is no packed network '{path}'.")
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise DamageError(f"its format is '{about.get('format')}', not '{FORMAT}'")
            if about.get("version") != VERSION:
                raise DamageError(f"its version is {about.get('version')}, and this autocomp reads {VERSION}")
            index, data = (file.get_tensor(name).tobytes() for name in ("index", "data"))
        described: Any = json.loads(zlib.decompress(index))
    except (SafetensorError, OSError, *_WRONG) as error:
        raise _damaged(path, error) from error
    return described, data


def _damaged(path: Path, error: BaseException) -> UsageError:
    reason = f"{type(error).__name__} {error}" if isinstance(error, KeyError) else str(error)
    return UsageError(
        f"A packed network must be a whole {FORMAT} file, but {path} is not: {reason.splitlines()[0] if reason else error!r}."
    )


def _tensor(about: Described, reader: Reader) -> Tensor:
    shape, dtype = tuple(about["shape"]), _DTYPES[about["dtype"]]
    if any(type(side) is not int or side < 0 for side in shape):
        raise DamageError(f"'{about['name']}' has the shape {shape}")
    if dtype == torch.float32 and len(shape) > 1:
        tensor = torch.from_numpy(decode(about, shape, reader))
    else:
        size = int(np.prod(shape)) * dtype.itemsize
        tensor = torch.frombuffer(bytearray(reader.take(size)) or bytearray(1), dtype=torch.uint8)[:size].view(dtype).reshape(shape)
    reader.close()
    return tensor
