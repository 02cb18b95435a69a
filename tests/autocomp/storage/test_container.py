"""The container: whole networks, exact, small, and refused when damaged."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import FIXED_POINT, WEIGHT_QUANTIZERS, Choice, Configuration
from autocomp.compression import calibrate, compress, default_methods
from autocomp.errors import UsageError
from autocomp.export import bake
from autocomp.models import build
from autocomp.storage import contents, pack, unpack

SHAPE = (1, 8, 8)


def teacher() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        graph = normalize(build("digits_resnet", classes=10, input_shape=SHAPE).eval(), SHAPE)
    assert graph is not None
    return graph


TEACHER = teacher()
LAYERS = [name for name, module in TEACHER.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
CHANNELS = channel_map(TEACHER, SHAPE)  # type: ignore[arg-type]


def bits(tensor: Tensor) -> bytes:
    """Bit for bit, zeros without a sign."""
    plain = tensor + 0 if tensor.is_floating_point() else tensor
    return plain.contiguous().flatten().view(torch.uint8).numpy().tobytes()


def assert_exact(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """Packs, unpacks and compares with the baked network."""
    assert pack(network, path) == path.stat().st_size
    state = unpack(path)
    wanted = {name: value for name, value in bake(network).state_dict().items() if isinstance(value, Tensor)}
    assert list(state) == list(wanted)
    for name, value in wanted.items():
        assert (state[name].shape, state[name].dtype) == (value.shape, value.dtype)
        assert bits(state[name]) == bits(value), name
    return state


def choice_of(quantizer: str, width: int, pattern: str, is_split: bool) -> Choice:
    widths = WEIGHT_QUANTIZERS[quantizer]
    is_split = is_split or quantizer == FIXED_POINT  # which rounds factors only
    return Choice(
        sparsity=0.6 if pattern != "none" else 0.0,
        pattern=pattern,
        rank=0.5 if is_split else 1.0,
        factorization="svd_out" if is_split else "none",
        weight_quantizer=quantizer,
        weight_bits=widths[width % len(widths)],
        activation_bits=8 if width % 2 else 32,
    )


choices = st.builds(
    choice_of, st.sampled_from(sorted(WEIGHT_QUANTIZERS)), st.integers(0, 14), st.sampled_from(["none", "fine", "filter"]), st.booleans()
)


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(choices, min_size=3, max_size=3))
def test_every_combination_of_pruning_ranks_and_quantizers_comes_back_bit_for_bit(tmp_path: Path, chosen: list[Choice]) -> None:
    leaders = [name for name in sorted(CHANNELS.leaders) if name != "conv1"]  # vectors need several input channels
    configuration = Configuration(dict(zip(leaders[:3], chosen, strict=True)))
    network = compress(TEACHER, configuration, default_methods(CHANNELS)).eval()
    calibrate(network, torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(0)))
    assert_exact(network, tmp_path / "network.packed")


def test_the_unpacked_weights_compute_what_the_network_computes(tmp_path: Path) -> None:
    choice = Choice(sparsity=0.7, pattern="fine", weight_bits=4, weight_quantizer="kmeans")
    network = compress(TEACHER, Configuration(dict.fromkeys(LAYERS, choice)), default_methods(CHANNELS)).eval()
    state = assert_exact(network, tmp_path / "network.packed")
    plain = teacher()
    plain.load_state_dict(state)
    images = torch.randn(5, *SHAPE)
    with torch.no_grad():
        assert torch.equal(plain.eval()(images), network(images))


def test_every_type_of_tensor_comes_back(tmp_path: Path) -> None:
    network = nn.Module()
    for i, dtype in enumerate((torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8)):
        network.register_buffer(f"b{i}", torch.arange(-3, 3).to(dtype).reshape(2, 3))
    network.register_buffer("byte", torch.arange(5).to(torch.uint8))
    network.register_buffer("flags", torch.tensor([True, False]))
    network.register_buffer("scalar", torch.tensor(1.5))
    network.register_buffer("empty", torch.zeros(0, 3))
    network.register_buffer("turned", torch.arange(6.0).reshape(2, 3).T)
    assert_exact(network, tmp_path / "all.packed")


def test_a_type_without_a_name_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    network = nn.Module()
    network.register_buffer("z", torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(UsageError, match=r"but 'z' is torch\.complex64"):
        pack(network, tmp_path / "z.packed")
    assert not list(tmp_path.iterdir())


def test_the_contents_name_every_tensor_with_its_form(tmp_path: Path) -> None:
    network = compress(TEACHER, Configuration({LAYERS[1]: Choice(weight_bits=4)}), default_methods(CHANNELS))
    size = pack(network, tmp_path / "network.packed")
    stored = {tensor.name: tensor for tensor in contents(tmp_path / "network.packed")}
    assert stored[f"{LAYERS[1]}.weight"].format.startswith("levels")
    assert stored[f"{LAYERS[0]}.weight"].format == "raw"
    assert 0 < size - sum(tensor.size_bytes for tensor in stored.values()) < 3000  # what the index takes
    weight = TEACHER.get_submodule(LAYERS[1]).weight
    assert isinstance(weight, Tensor)
    assert stored[f"{LAYERS[1]}.weight"].size_bytes <= weight.numel() / 2 + 4 * len(weight)


def test_without_huffman_codes_the_file_is_larger_and_as_exact(tmp_path: Path) -> None:
    choice = Choice(sparsity=0.9, pattern="fine", weight_bits=4, weight_quantizer="kmeans")
    network = compress(TEACHER, Configuration(dict.fromkeys(LAYERS, choice)), default_methods(CHANNELS))
    sizes = [pack(network, tmp_path / f"{huffman}.packed", huffman=huffman) for huffman in (True, False)]
    assert sizes[0] < sizes[1]
    assert not any("huffman" in tensor.format for tensor in contents(tmp_path / "False.packed"))
    one, other = (unpack(tmp_path / f"{huffman}.packed") for huffman in (True, False))
    assert all(bits(one[name]) == bits(other[name]) for name in one)


def test_it_is_a_safetensors_file_with_format_and_version(tmp_path: Path) -> None:
    pack(nn.Linear(2, 2), tmp_path / "x.packed")
    with safe_open(tmp_path / "x.packed", framework="numpy") as file:
        assert file.metadata() == {"format": "autocomp.packed", "version": "1"}
        assert set(file.keys()) == {"index", "data"}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A container with every kind of part."""
    choices = [
        Choice(sparsity=0.9, pattern="fine", weight_bits=4, weight_quantizer="kmeans"),
        Choice(weight_bits=1, weight_quantizer="product"),
        Choice(weight_bits=2, weight_quantizer="ternary"),
    ]
    configuration = Configuration(dict(zip([n for n in LAYERS if "conv" in n][1:4], choices, strict=True)))
    path = tmp_path_factory.mktemp("packed") / "network.packed"
    pack(compress(TEACHER, configuration, default_methods(CHANNELS)), path)
    return path


def rewritten(path: Path, out: Path, change: Any) -> Path:
    """The container with another index, its checksum right for the data."""
    parts = load_file(path)
    index = json.loads(zlib.decompress(parts["index"].tobytes()))
    data = change(index, bytearray(parts["data"].tobytes())) or parts["data"].tobytes()
    index["crc32"] = zlib.crc32(data)
    written = np.frombuffer(zlib.compress(json.dumps(index).encode()), np.uint8)
    save_file({"data": np.frombuffer(bytes(data), np.uint8), "index": written}, out, {"format": "autocomp.packed", "version": "1"})
    return out


def assert_refused(path: Path, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        unpack(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (unpack, contents):
        with pytest.raises(UsageError, match="There is no packed network"):
            read(tmp_path / "none.packed")


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9999))
def test_a_truncated_file_is_refused(packed: Path, tmp_path: Path, share: float) -> None:
    whole = packed.read_bytes()
    (tmp_path / "cut.packed").write_bytes(whole[: int(share * len(whole))])
    assert_refused(tmp_path / "cut.packed", r"must be a whole autocomp\.packed file")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.9999), flip=st.integers(1, 255))
def test_a_changed_byte_is_refused(packed: Path, tmp_path: Path, share: float, flip: int) -> None:
    damaged = bytearray(packed.read_bytes())
    damaged[int(share * len(damaged))] ^= flip
    (tmp_path / "bad.packed").write_bytes(damaged)
    message = ""
    try:
        state = unpack(tmp_path / "bad.packed")
    except UsageError as error:
        message = str(error)
    if message:
        assert "\n" not in message
    else:  # padding may change without harm
        assert all(bits(state[name]) == bits(value) for name, value in unpack(packed).items())


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "other", "version": "1"}, "its format is 'other', not 'autocomp.packed'"),
        ({"format": "autocomp.packed", "version": "2"}, "its version is 2, and this autocomp reads 1"),
        (None, "its format is 'None'"),
        ({"format": "autocomp.packed", "version": "1"}, "index"),
    ],
)
def test_another_format_or_version_is_refused(tmp_path: Path, metadata: dict[str, str] | None, message: str) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "x.packed", metadata)
    assert_refused(tmp_path / "x.packed", message)


def test_a_foreign_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "x.packed")
    assert_refused(tmp_path / "x.packed", "must be a whole")


def entry(index: dict[str, Any], kind: str) -> dict[str, Any]:
    """The first tensor whose values are of a kind."""
    found: dict[str, Any] = next(about for about in index["tensors"] if about["values"]["kind"] == kind)
    return found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index, data: index.pop("tensors"), "KeyError 'tensors'"),
        (lambda index, data: index.update(tensors=[1]), "not"),
        (lambda index, data: index["tensors"].pop(), "bytes are left over"),
        (lambda index, data: entry(index, "raw").update(shape=[1 << 60]), "bytes are wanted where"),
        (lambda index, data: entry(index, "raw").update(shape=[-4]), "has the shape"),
        (lambda index, data: entry(index, "raw").update(shape="12"), "has the shape"),
        (lambda index, data: entry(index, "raw").update(bytes=-1), "-1 bytes are wanted"),
        (lambda index, data: entry(index, "raw").update(dtype="F12"), "KeyError 'F12'"),
        (lambda index, data: entry(index, "levels")["values"].update(kind="magic"), "not 'magic'"),
        (lambda index, data: entry(index, "levels")["values"].update(steps=3), "3 steps and"),
        (lambda index, data: entry(index, "levels")["values"]["codes"].update(count=7), "7 codes do not fit"),
        (lambda index, data: entry(index, "levels")["values"]["codes"].update(coding="zip"), "packed or huffman, not 'zip'"),
        (lambda index, data: entry(index, "levels")["places"].update(kind="diagonal"), "not 'diagonal'"),
        (lambda index, data: entry(index, "vectors")["values"]["entries"].pop(), "sub-spaces"),
        (lambda index, data: entry(index, "vectors")["values"].update(width=0), "must not be zero"),
        (lambda index, data: entry(index, "vectors")["values"].update(width=None), "not"),
    ],
)
def test_an_index_that_does_not_fit_its_data_is_refused(packed: Path, tmp_path: Path, change: Any, message: str) -> None:
    def changed(index: dict[str, Any], data: bytearray) -> None:
        change(index, data)

    assert_refused(rewritten(packed, tmp_path / "x.packed", changed), message)


def test_a_bad_huffman_table_is_refused(packed: Path, tmp_path: Path) -> None:
    def broken(index: dict[str, Any], data: bytearray) -> bytes:
        at = 0
        for about in index["tensors"]:
            streams = [about.get("places", {}).get("gaps"), about["values"].get("codes")]
            if any(stream and stream["coding"] == "huffman" for stream in streams):
                data[at : at + about["bytes"]] = bytes(about["bytes"])  # all lengths zero
                return bytes(data)
            at += about["bytes"]
        raise AssertionError("nothing is Huffman-coded, so nothing was tested")

    assert_refused(rewritten(packed, tmp_path / "x.packed", broken), "form no Huffman code")


def test_writing_replaces_a_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "x.packed"
    path.write_text("old")
    assert_exact(nn.Linear(3, 4), path)
    assert list(tmp_path.iterdir()) == [path]
