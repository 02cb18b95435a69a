"""Workload: a network as hardware sees it, a table of layers without weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwmodels.errors import WorkloadError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Op(IntEnum):
    """What a layer computes."""

    CONV = 0
    LINEAR = 1


class Pattern(IntEnum):
    """Where the zeros of a weight tensor lie (Mao 2017); removed filters shrink shapes and leave no pattern.

    ``GROUP``: the same places in every filter. ``N_M``: at most N non-zeros among each M neighbouring inputs.
    """

    DENSE = 0
    FINE = 1
    VECTOR = 2
    KERNEL = 3
    GROUP = 4
    N_M = 5


_COUNTS = (
    "batch",
    "groups",
    "in_channels",
    "out_channels",
    "kernel_h",
    "kernel_w",
    "in_h",
    "in_w",
    "out_h",
    "out_w",
    "stride",
    "weight_bits",
    "activation_bits",
    "index_bits",
    "codebook",
    "repeats",
    "fused",
    "block",
)
_FROM_ZERO = frozenset({"in_channels", "out_channels", "index_bits", "codebook", "fused", "block"})
_DENSITIES = ("weight_density", "activation_density")
WIDEST = 32  # bits of a single-precision number


def _ones() -> Ints:
    return np.ones((), np.int64)


def _zeros() -> Ints:
    return np.zeros((), np.int64)


def _dense() -> Floats:
    return np.ones((), np.float64)


def _word() -> Ints:
    return np.full((), 32, np.int64)


@dataclass(frozen=True, eq=False)
class Workload:
    """Layers as arrays of shape ``... x l``; leading axes are candidates, ``l`` is the number of layer slots.

    Every field broadcasts against every other, so that what does not differ between candidates is stored once as an
    ``l`` vector. A slot is *unused* where ``in_channels`` or ``out_channels`` is 0: it has no MACs and costs nothing.

    Attributes:
        names: the layer slots, in execution order (``l``).
        op: `Op` codes.
        batch: images per pass.
        groups: groups of a convolution; 1 for linear layers.
        in_channels, out_channels: of the whole layer, all groups together; 0 in an unused slot.
        kernel_h, kernel_w, stride: of the convolution; 1 for linear layers.
        in_h, in_w, out_h, out_w: feature-map sizes in pixels, without padding. (They are kept apart from the kernel
            because ``(out - 1) stride + kernel`` overstates the traffic of a padded map, 2.25 times at 4x4.)
        weight_bits, activation_bits: width of one stored weight and one input activation.
        weight_density, activation_density: fraction of non-zeros, in [0, 1].
        pattern: `Pattern` codes of the zeros in the weights.
        index_bits: position bits stored beside each non-zero weight.
        codebook: entries of the weight codebook, 0 for none.
        repeats: times that the layer runs per image with the same weights.
        fused: 1 where the output map goes straight to the next slot and stays on chip (Alwani 2016), else 0.
        block: edge in output pixels of the blocks of a block convolution (Li 2018), 0 for an ordinary one.

    Raises:
        WorkloadError: on shapes that do not broadcast, negative counts, widths above 32 bits, densities outside [0, 1] or
            channels that are not a multiple of ``groups``.
    """

    names: tuple[str, ...]
    in_channels: Ints
    out_channels: Ints
    op: Ints = field(default_factory=_zeros)
    batch: Ints = field(default_factory=_ones)
    groups: Ints = field(default_factory=_ones)
    kernel_h: Ints = field(default_factory=_ones)
    kernel_w: Ints = field(default_factory=_ones)
    in_h: Ints = field(default_factory=_ones)
    in_w: Ints = field(default_factory=_ones)
    out_h: Ints = field(default_factory=_ones)
    out_w: Ints = field(default_factory=_ones)
    stride: Ints = field(default_factory=_ones)
    weight_bits: Ints = field(default_factory=_word)
    activation_bits: Ints = field(default_factory=_word)
    weight_density: Floats = field(default_factory=_dense)
    activation_density: Floats = field(default_factory=_dense)
    pattern: Ints = field(default_factory=_zeros)
    index_bits: Ints = field(default_factory=_zeros)
    codebook: Ints = field(default_factory=_zeros)
    repeats: Ints = field(default_factory=_ones)
    fused: Ints = field(default_factory=_zeros)
    block: Ints = field(default_factory=_zeros)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        for name in self._array_names():
            kind = np.float64 if name in _DENSITIES else np.int64
            object.__setattr__(self, name, np.asarray(getattr(self, name), kind))
        self._check_shape()
        self._check_values(self._array_names())

    @staticmethod
    @cache
    def _array_names() -> tuple[str, ...]:
        return tuple(f.name for f in fields(Workload) if f.name != "names")

    def _check_shape(self) -> None:
        arrays = self.arrays()
        try:
            shape = np.broadcast_shapes((len(self.names),), *(a.shape for a in arrays.values()))
        except ValueError:
            shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items() if a.ndim)
            raise WorkloadError(f"Workload fields must broadcast to ... x {len(self.names)} layers, but have {shapes}.") from None
        if shape[-1:] != (len(self.names),):
            raise WorkloadError(f"Workload has {len(self.names)} names for {shape[-1]} layers; name each layer once.")

    def _check_values(self, of: Collection[str]) -> None:
        """Raise where a value of some fields makes no sense."""
        for name in (n for n in _COUNTS if n in of):
            low = 0 if name in _FROM_ZERO else 1
            if self._any(getattr(self, name) < low):
                raise WorkloadError(f"`{name}` must be at least {low}{self._culprit(getattr(self, name) < low, name)}.")
        for name, most in (("weight_bits", WIDEST), ("activation_bits", WIDEST), ("fused", 1)):
            if name in of and self._any(getattr(self, name) > most):
                raise WorkloadError(f"`{name}` must be at most {most}{self._culprit(getattr(self, name) > most, name)}.")
        for name in (n for n in _DENSITIES if n in of):
            value = getattr(self, name)
            if self._any(~((value >= 0) & (value <= 1))):
                raise WorkloadError(f"`{name}` must lie in [0, 1]{self._culprit(~((value >= 0) & (value <= 1)), name)}.")
        for name in (n for n in ("in_channels", "out_channels") if n in of or "groups" in of):
            bad = getattr(self, name) % self.groups != 0
            if self._any(bad):
                raise WorkloadError(f"`{name}` must be a multiple of `groups`{self._culprit(bad, name, 'groups')}.")

    @staticmethod
    def _any(flags: NDArray[np.bool_]) -> bool:
        return bool(np.any(flags))

    def _culprit(self, bad: NDArray[np.bool_], *names: str) -> str:
        where = tuple(np.argwhere(np.broadcast_to(bad, self.shape))[0]) if self.names else ()
        values = ", ".join(f"{n}={np.broadcast_to(getattr(self, n), self.shape)[where]}" for n in names)
        return f", but layer '{self.names[where[-1]]}' has ({values})"

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Candidates x layers."""
        return np.broadcast_shapes((len(self.names),), *(a.shape for a in self.arrays().values()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The array fields as they are stored, not broadcast."""
        return {name: getattr(self, name) for name in self._array_names()}

    def replace(self, **changes: ArrayLike | tuple[str, ...]) -> Workload:
        """The same workload with some fields changed, which alone are checked."""
        names = self._array_names()
        if not changes.keys() <= set(names):
            return replace(self, **changes)  # type: ignore[arg-type]
        changed = object.__new__(Workload)
        object.__setattr__(changed, "names", self.names)
        for name in names:
            kind = np.float64 if name in _DENSITIES else np.int64
            object.__setattr__(changed, name, np.asarray(changes[name], kind) if name in changes else getattr(self, name))
        changed._check_shape()
        changed._check_values(changes)
        return changed

    @cached_property
    def used(self) -> NDArray[np.bool_]:
        """Which slots hold a layer, ``... x l``."""
        return np.broadcast_to((self.in_channels > 0) & (self.out_channels > 0), self.shape)

    @cached_property
    def gemm_m(self) -> Ints:
        """Output pixels of all images: rows of the matrix product."""
        return np.asarray(self.batch * self.out_h * self.out_w)

    @cached_property
    def gemm_k(self) -> Ints:
        """Inputs per output, per group: the reduced dimension."""
        return np.asarray(self.in_channels // self.groups * self.kernel_h * self.kernel_w)

    @cached_property
    def gemm_n(self) -> Ints:
        """Output channels per group: columns of the matrix product."""
        return np.asarray(self.out_channels // self.groups)

    @cached_property
    def macs(self) -> Ints:
        """Multiply-accumulates on the present shapes, zeros included, ``... x l``."""
        macs = self.gemm_m * self.gemm_k * self.gemm_n * self.groups * self.repeats
        return np.broadcast_to(macs, self.shape)

    @cached_property
    def weights(self) -> Ints:
        """Weights of the present shapes, zeros included, ``... x l``."""
        return np.broadcast_to(self.gemm_k * self.gemm_n * self.groups, self.shape)

    @cached_property
    def nonzeros(self) -> Ints:
        """Weights that are not zero, ``... x l``."""
        return np.asarray(np.rint(self.weights * self.weight_density), np.int64)

    @cached_property
    def weight_storage_bits(self) -> Ints:
        """Bits that the packed weights take, ``... x l``.

        Non-zeros with their index, or every weight without one where that is less; and the codebook at 32 bit.
        """
        packed = np.minimum(self.nonzeros * (self.weight_bits + self.index_bits), self.weights * self.weight_bits)
        codebook = np.where(self.used, self.codebook * 32, 0)
        return np.asarray(packed + codebook)

    def part(self, start: int, stop: int) -> Workload:
        """Some of the candidates of a ``b x l`` workload, as views that are not checked again."""
        taken = object.__new__(Workload)
        object.__setattr__(taken, "names", self.names)
        for name, array in self.arrays().items():
            varies = array.ndim == 2 and array.shape[0] > 1
            object.__setattr__(taken, name, array[start:stop] if varies else array)
        return taken

    def candidate(self, index: int | tuple[int, ...]) -> Workload:
        """One candidate, as an ``l`` workload without its unused slots."""
        lead = self.shape[:-1]
        picked = {n: np.broadcast_to(a, self.shape)[index] if lead else np.broadcast_to(a, self.shape) for n, a in self.arrays().items()}
        used = (picked["in_channels"] > 0) & (picked["out_channels"] > 0)
        names = tuple(n for n, u in zip(self.names, used, strict=True) if u)
        return Workload(names=names, **{n: a[used] for n, a in picked.items()})

    def rows(self) -> list[dict[str, Any]]:
        """One candidate's layers as plain dictionaries, for tables and JSON.

        Raises:
            WorkloadError: if the workload has candidate axes; take one with `candidate` first.
        """
        if len(self.shape) != 1:
            raise WorkloadError(f"Only one candidate makes a table, but this workload has shape {self.shape}; use `candidate`.")
        columns: Mapping[str, NDArray[Any]] = {n: np.broadcast_to(a, self.shape) for n, a in self.arrays().items()}
        return [{"name": name} | {n: a[i].item() for n, a in columns.items()} for i, name in enumerate(self.names)]
