"""The slots of a factorized layer: one per part of its chain, for many candidates that may each split it in another way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocomp.choice import FACTORIZATIONS, Choices
from autocomp.compression.kinds import KINDS, Kernel, Kind
from autocomp.errors import ConfigError
from hwmodels import Op, Workload

Column = NDArray[Any]


def kernels(workload: Workload) -> Kernel:
    """The sides of every layer's kernel."""
    return Kernel(workload.in_channels, workload.out_channels, workload.kernel_h, workload.kernel_w)


def splits(kind: Kind, workload: Workload) -> NDArray[np.bool_]:
    """Which layers are of the sort that a kind splits."""
    return kind.splits(kernels(workload), workload.groups, workload.op == Op.LINEAR)


def split(workload: Workload, choices: Choices) -> Workload:
    """As many slots for every layer as the longest chain that a candidate splits it into; ``conv.0``, ``conv.1`` and so on.

    Where a candidate needs fewer, or leaves the layer whole, the other slots are unused.

    Raises:
        ConfigError: if a layer cannot be split in the way that is asked for.
    """
    there = np.bincount(choices.factorization.ravel(), minlength=len(FACTORIZATIONS)) > 0
    chosen = {name: choices.uses("factorization", name) for name in KINDS if there[FACTORIZATIONS.index(name)]}
    for name, uses in chosen.items():
        _refuse(name, uses & ~splits(KINDS[name], workload), workload.names)
    parts = np.ones(len(workload.names), np.int64)
    for name, uses in chosen.items():
        parts = np.maximum(parts, np.where(uses.any(axis=0), len(KINDS[name].parts), 1))
    if (parts == 1).all():
        return workload
    table = _Slots(workload, parts, len(choices.rank))
    for name, uses in chosen.items():
        layout = KINDS[name].at(kernels(workload), choices.rank)
        for place, fields in enumerate(_parts(workload, KINDS[name], layout.widths, layout.groups)):
            table.write(place, uses, fields)
    return table.workload()


def _refuse(kind: str, wrong: NDArray[np.bool_], names: tuple[str, ...]) -> None:
    if wrong.any():
        raise ConfigError(unfit(kind, names[int(np.argwhere(wrong)[0][-1])]))


def unfit(kind: str, layer: str) -> str:
    """The line that says that a layer cannot be split in some way."""
    sort = "linear layer" if KINDS[kind].is_linear else "convolution in one group"
    longer = {0: "", 1: " with a kernel of more than one pixel", 2: " with a kernel of more than one pixel both ways"}[KINDS[kind].sides]
    return f"`factorization` {kind} splits a {sort}{longer}, but layer '{layer}' is none; leave its `rank` at 1 or choose another."


def _parts(workload: Workload, kind: Kind, widths: tuple[Column, ...], groups: tuple[Column, ...]) -> Iterator[dict[str, Column]]:
    """The fields of each part, for every layer (of every candidate): ``l`` or ``b x l``."""
    channels = (workload.in_channels, *widths, workload.out_channels)
    in_h, in_w = workload.in_h, workload.in_w
    for place, part in enumerate(kind.parts):
        out_h, out_w = (workload.out_h if part.rows else in_h), (workload.out_w if part.columns else in_w)
        yield {
            "in_channels": channels[place],
            "out_channels": channels[place + 1],
            "groups": groups[place],
            "kernel_h": workload.kernel_h if part.rows else np.ones((), np.int64),
            "kernel_w": workload.kernel_w if part.columns else np.ones((), np.int64),
            "stride": workload.stride if part.rows else np.ones((), np.int64),  # as `trace` reads it: from row to row
            "in_h": in_h,
            "in_w": in_w,
            "out_h": out_h,
            "out_w": out_w,
        }
        in_h, in_w = out_h, out_w


class _Slots:
    """A workload in the making, in which layers have several slots.

    A field stays one number per slot as long as that is enough: hardware models then compute what depends on it only once.

    Args:
        workload: whole layers, ``l`` or ``b x l``.
        parts: slots of each layer (``l``).
        candidates: ``b``.
    """

    def __init__(self, workload: Workload, parts: NDArray[np.int64], candidates: int) -> None:
        self.layer = np.repeat(np.arange(len(parts)), parts)
        self.place = np.concatenate([np.arange(n) for n in parts])
        self.candidates = candidates
        ends = [f".{p}" if parts[i] > 1 else "" for i, p in zip(self.layer, self.place, strict=True)]
        self.names = tuple(workload.names[i] + end for i, end in zip(self.layer, ends, strict=True))
        self.fields = {field: self._spread(values) for field, values in workload.arrays().items()}
        follows = self.place > 0
        # what an unused slot has is of no account, except that it has no channels: let it be what most kinds end with, a 1 x 1 kernel
        rest: Mapping[str, Any] = {
            **dict.fromkeys(("in_channels", "out_channels"), 0),
            **dict.fromkeys(("groups", "kernel_h", "kernel_w", "stride", "activation_density"), 1),
            "in_h": self.fields["out_h"],
            "in_w": self.fields["out_w"],
        }
        for field, value in rest.items():
            self.fields[field] = np.where(follows, value, self.fields[field])

    def _spread(self, values: Column) -> Column:
        if not values.ndim:
            return values
        return values[..., self.layer if values.shape[-1] > 1 else np.zeros_like(self.layer)]

    def write(self, place: int, uses: NDArray[np.bool_], fields: Mapping[str, Column]) -> None:
        """Let the ``place``-th part of some layers (``b x l``) be as described."""
        used: NDArray[np.bool_] = np.asarray(uses.any(axis=0))
        columns = np.flatnonzero((self.place == place) & used[self.layer])
        where = uses[:, self.layer[columns]]
        for field, values in fields.items():
            wanted = self._spread(np.atleast_1d(values))[..., columns] if np.ndim(values) else values
            present = self.fields[field][..., columns]
            if (wanted == present).all():
                continue
            if self.fields[field].ndim < 2 or len(self.fields[field]) < self.candidates:
                self.fields[field] = np.broadcast_to(self.fields[field], (self.candidates, len(self.layer))).copy()
            self.fields[field][:, columns] = np.where(where, wanted, present)

    def workload(self) -> Workload:
        """The workload as it is written so far."""
        return Workload(names=self.names, **self.fields)
