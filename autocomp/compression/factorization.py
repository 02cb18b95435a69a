"""Low-rank factorization: one kernel becomes two smaller ones in a row (Denil 2013, Zhang 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choices, Configuration
from autocomp.compression.layers import Layer
from hwmodels import Op, Workload


@dataclass(frozen=True)
class Factorization:
    """Truncated singular value decomposition.

    ``svd_out``: a convolution kh x kw with N filters becomes kh x kw with r filters, then 1 x 1 with N filters.
    ``svd``: a linear layer becomes two. The rank is a fraction of the full one, min(K, N), of the layer as pruned.
    """

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Ungrouped layers whose rank can be lowered."""
        can = (workload.groups == 1) & (np.minimum(workload.gemm_k, workload.gemm_n) > 1)
        return {("factorization", "svd_out"): can & (workload.op == Op.CONV), ("factorization", "svd"): can & (workload.op == Op.LINEAR)}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """Two slots for every layer that some candidate factorizes; the second is unused where it is not."""
        split = choices.uses("factorization", "svd_out") | choices.uses("factorization", "svd")
        twice = split.any(axis=0)
        if not twice.any():
            return workload
        index = np.repeat(np.arange(len(workload.names)), 1 + twice)
        second = np.concatenate([[False], index[1:] == index[:-1]])
        first = np.concatenate([second[1:], [False]])
        slots = _take(workload, index, _slot_names(workload.names, index, first, second))
        rank, is_split = _rank(workload, choices.rank)[:, index], split[:, index]
        in_channels = np.where(second, np.where(is_split, rank, 0), slots.in_channels)
        unit = {name: np.where(second, 1, getattr(slots, name)) for name in ("kernel_h", "kernel_w", "stride")}
        return slots.replace(
            in_channels=in_channels,
            out_channels=np.where(first & is_split, rank, np.where(second & ~is_split, 0, slots.out_channels)),
            in_h=np.where(second, slots.out_h, slots.in_h),
            in_w=np.where(second, slots.out_w, slots.in_w),
            activation_density=np.where(second, 1.0, slots.activation_density),  # no activation function in between
            **unit,
        )

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Replace each factorized layer by a sequence of two."""
        for name, choice in configuration.items():
            if choice.factorization in _SPLITS:
                parent, _, child = name.rpartition(".")
                layer = model.get_submodule(name)
                pair = _SPLITS[choice.factorization](layer, choice.rank)
                setattr(model.get_submodule(parent), child, pair.train(layer.training))
        return model


def _slot_names(names: tuple[str, ...], index: NDArray[np.int64], first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[str, ...]:
    ends = np.where(second, ".1", np.where(first, ".0", ""))
    return tuple(names[i] + end for i, end in zip(index, ends, strict=True))


def _take(workload: Workload, index: NDArray[np.int64], names: tuple[str, ...]) -> Workload:
    return Workload(names=names, **{n: a[..., index] if a.ndim else a for n, a in workload.arrays().items()})


def _rank(workload: Workload, fraction: NDArray[np.float64]) -> NDArray[np.int64]:
    full = np.minimum(workload.gemm_k, workload.gemm_n)
    return np.asarray(np.maximum(np.rint(fraction * full), 1), np.int64)


def _factors(matrix: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """The best rank-r factors of ``n x k``: ``n x r`` and ``r x k``, singular values shared evenly (Eckart 1936)."""
    rank = max(int(np.rint(fraction * min(matrix.shape))), 1)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    root = values[:rank].sqrt()
    return left[:, :rank] * root, root[:, None] * right[:rank]


def _split_convolution(layer: nn.Conv2d, fraction: float) -> nn.Sequential:
    outer, inner = _factors(layer.weight.detach().flatten(1), fraction)
    first = nn.Conv2d(
        layer.in_channels,
        len(inner),
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        padding_mode=layer.padding_mode,
        bias=False,
        device=layer.weight.device,
    )
    second = nn.Conv2d(len(inner), layer.out_channels, 1, bias=layer.bias is not None, device=layer.weight.device)
    return _filled(first, second, inner, outer, layer.bias)


def _split_linear(layer: nn.Linear, fraction: float) -> nn.Sequential:
    outer, inner = _factors(layer.weight.detach(), fraction)
    first = nn.Linear(layer.in_features, len(inner), bias=False, device=layer.weight.device)
    second = nn.Linear(len(inner), layer.out_features, bias=layer.bias is not None, device=layer.weight.device)
    return _filled(first, second, inner, outer, layer.bias)


@torch.no_grad()
def _filled(first: Layer, second: Layer, inner: Tensor, outer: Tensor, bias: Tensor | None) -> nn.Sequential:
    first.weight.copy_(inner.reshape(first.weight.shape))
    second.weight.copy_(outer.reshape(second.weight.shape))
    if second.bias is not None and bias is not None:
        second.bias.copy_(bias)
    return nn.Sequential(first, second)


_SPLITS: dict[str, Callable[..., nn.Sequential]] = {"svd_out": _split_convolution, "svd": _split_linear}
