"""One tensor: every kind of value comes back bit for bit, in the form that is smallest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from autocomp.storage.formats import decode, encode
from autocomp.storage.levels import find_levels
from autocomp.storage.reading import Reader

Floats = NDArray[np.float32]
VALUES = ("normal", "half", "grid", "one_step", "ternary", "powers", "codebook", "signs", "vectors", "constant", "zero")
SHAPES = ((40, 30), (12, 6, 3, 3), (8, 1, 5, 5), (1, 70), (70, 1))


def weights(kind: str, shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Weights of one kind."""
    filters = (shape[0], *[1] * (len(shape) - 1))
    step = np.exp(generator.normal(-5, 1, filters)).astype(np.float32)
    normal = generator.normal(size=shape)
    made: dict[str, Any] = {
        "normal": lambda: normal,
        "half": lambda: normal.astype(np.float16),
        "grid": lambda: np.rint(40 * normal).astype(np.float32) * step,
        "one_step": lambda: np.rint(2 * normal).astype(np.float32) * step[0],
        "ternary": lambda: np.sign(np.trunc(1.5 * normal)).astype(np.float32) * step,
        "powers": lambda: (np.sign(normal) * 2.0 ** np.rint(3 * normal).clip(-7, 0)).astype(np.float32) * step,
        "codebook": lambda: generator.normal(size=13).astype(np.float32)[generator.integers(0, 13, shape)],
        "signs": lambda: np.sign(normal + 1e-9).astype(np.float32) * step,
        "vectors": lambda: vectors(shape, generator),
        "constant": lambda: np.full(shape, 0.1),
        "zero": lambda: np.zeros(shape),
    }
    return np.ascontiguousarray(made[kind](), np.float32)


def vectors(shape: tuple[int, ...], generator: np.random.Generator) -> Floats:
    """Pairs of channels from codebooks of four."""
    places = (shape[0], *shape[2:])
    parts = []
    for start in range(0, shape[1], 2):
        book = generator.normal(size=(4, min(2, shape[1] - start)))
        parts.append(np.moveaxis(book[generator.integers(0, 4, places)], -1, 1))
    return np.concatenate(parts, 1).astype(np.float32)


def stored(values: Floats) -> tuple[dict[str, Any], bytes]:
    """The stored form, once it is known that the values come back bit for bit (zeros without a sign)."""
    about, data = encode(values)
    reader = Reader(data)
    back = decode(about, values.shape, reader)
    reader.close()
    assert back.dtype == np.float32
    assert np.array_equal((back + np.float32(0)).view(np.uint32), (values + np.float32(0)).view(np.uint32))
    return about, data


@pytest.mark.parametrize("levels", [[0.1], [-0.5, 0.5, 1.5], [3.0], [-1.0, 0.0, 1.0], [0.0, 0.25]])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_one_apart_come_back_whether_they_are_whole_numbers_or_not(levels: list[float], shape: tuple[int, ...]) -> None:
    values = np.array(levels, np.float32)[np.arange(np.prod(shape)) % len(levels)].reshape(shape)
    assert stored_bits(values) == values.tobytes()


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(VALUES), st.sampled_from(SHAPES), st.sampled_from([0, 0.3, 0.7, 0.95]), st.integers(0, 99))
def test_weights_of_every_kind_and_sparsity_come_back_bit_for_bit(kind: str, shape: tuple[int, ...], sparsity: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = weights(kind, shape, generator) * (generator.random(shape) >= sparsity)
    _, data = stored(values.astype(np.float32))
    assert len(data) <= values.size * 4


@pytest.mark.parametrize(("kind", "sparsity", "places", "form"), [
    ("normal", 0, None, "raw"),
    ("half", 0, None, "half"),
    ("grid", 0, None, "levels"),
    ("codebook", 0, None, "levels"),
    ("vectors", 0, None, "vectors"),
    ("ternary", 0, "bitmask", "levels"),
    ("normal", 0.5, "bitmask", "raw"),
    ("normal", 0.95, "rows", "raw"),
    ("grid", 0.95, "rows", "levels"),
])  # fmt: skip
def test_the_form_follows_the_weights(kind: str, sparsity: float, places: str | None, form: str) -> None:
    generator = np.random.default_rng(0)
    values = weights(kind, (300, 40), generator) * (generator.random((300, 40)) >= sparsity)
    about, _ = stored(values.astype(np.float32))
    found = about.get("places", {}).get("kind")
    assert ("rows" if found == "columns" else found, about["values"]["kind"]) == (places, form)


def test_the_bytes_of_a_ternary_kernel_are_those_worked_out_by_hand() -> None:
    # Two filters of eight weights, steps 0.5 and 3. Non-zeros: +-+- in filter 0 at 0, 2, 4, 6 and ++-- in filter 1 at 0 to 3.
    # Mask 10101010 11110000, steps 2 x 4 bytes, levels -1 and 1 without zero: codes 1010 1100. 2 + 8 + 1 = 11 bytes.
    # (2 bits for every weight take 4 bytes instead of 3; here the gaps take more than the mask.)
    signs = np.array([[1, 0, -1, 0, 1, 0, -1, 0], [1, 1, -1, -1, 0, 0, 0, 0]], np.float32)
    about, data = stored(signs * np.array([[0.5], [3]], np.float32))
    assert about["places"] == {"kind": "bitmask"}
    assert data == bytes([0xAA, 0xF0]) + np.array([0.5, 3], "<f4").tobytes() + bytes([0xAC])


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, 10, 12, 16])
@pytest.mark.parametrize("sparsity", [0, 0.9])
def test_the_steps_of_a_grid_are_found_at_every_width_also_where_small_weights_are_pruned(bits: int, sparsity: float) -> None:
    generator = np.random.default_rng(bits)
    normal = generator.normal(size=(50, 1500)).astype(np.float32)
    normal *= np.abs(normal) > np.quantile(np.abs(normal), sparsity)
    high = 2 ** (bits - 1) - 1
    step = (np.abs(normal).max(1, keepdims=True) / high).astype(np.float32)
    values = np.rint(normal / step) * step
    (found,) = find_levels(values + np.float32(0))
    assert found.steps is not None
    assert np.array_equal(found.levels[found.codes] * (found.steps[:, None] if len(found.steps) > 1 else found.steps), values + 0)
    _, data = stored(values)
    assert len(data) <= -(-values.size * bits // 8) + 4 * 50


def test_not_a_number_infinity_and_tiny_numbers_come_back() -> None:
    values = np.zeros((3, 4), np.float32)
    values[0], values[1, 0], values[2, 3] = np.nan, np.inf, 1e-45
    assert stored_bits(values) == values.tobytes()
    assert stored_bits(values[2:]) == values[2:].tobytes()


def stored_bits(values: Floats) -> bytes:
    about, data = encode(values)
    return decode(about, values.shape, Reader(data)).tobytes()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 3, 0, 1)])
def test_empty_and_single_weights_come_back(shape: tuple[int, ...]) -> None:
    about, data = encode(np.ones(shape, np.float32))
    np.testing.assert_array_equal(decode(about, shape, Reader(data)), np.ones(shape, np.float32), strict=True)
    assert len(data) <= 4 * np.prod(shape)


def test_a_matrix_of_which_columns_are_left_is_smaller_by_columns() -> None:
    generator = np.random.default_rng(0)
    values = np.zeros((200, 300), np.float32)
    values[:, generator.permutation(300)[:10]] = generator.normal(size=(200, 10))  # within a column no gap, in a row all gaps
    about, _ = stored(values)
    assert about["places"]["kind"] == "columns"


def test_a_codebook_on_filters_of_one_weight_is_found_although_each_is_a_grid_of_its_own() -> None:
    about, data = stored(np.array([0.3, -1.7, 0.9, 0.3], np.float32)[np.arange(400) % 4][:, None])
    assert about["values"]["steps"] == 0
    assert len(data) <= 3 * 4 + 400 / 4  # three values, and two bits each


def test_zeros_take_next_to_nothing() -> None:
    _, data = stored(np.zeros((300, 200), np.float32))
    assert len(data) <= 4
