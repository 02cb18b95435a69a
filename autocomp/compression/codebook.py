"""Codebooks: weights that share a few values, or sub-vectors that share a few vectors; the shared ones are trained.

Which entry a weight takes is fixed when the codebook is made; fine-tuning moves the entries, whose gradient is the sum of
their members' gradients (Han 2016, section 3.3). Pruned weights stay zero and are no members.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import FLOAT_BITS, Choices, Configuration
from autocomp.compression.clustering import cluster_values, cluster_vectors
from autocomp.compression.layers import owners, weight_layers
from autocomp.errors import UnknownNameError
from hwmodels import Workload

INITIALIZATIONS = ("linear", "density", "random")


def _look_up(table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Entries in the weight's shape, zero where the weight is; the gradient of an entry is the sum over its members."""
    return torch.where(weight == 0, 0, table.index_select(0, index.flatten()).reshape(weight.shape))


class KMeansWeight(nn.Module):
    """A weight parametrization: ``2^bits`` values per layer (Han 2016); at most one for each weight.

    Args:
        weight: of any shape.
        bits: binary logarithm of the entries.
        initialization: where k-means starts, one of `INITIALIZATIONS`; the paper's best is ``linear``.
    """

    index: Tensor

    def __init__(self, weight: Tensor, bits: int, initialization: str = "linear") -> None:
        super().__init__()
        self.weight_bits = bits
        self.codebook = min(1 << bits, weight.numel())
        values = weight.detach().flatten()
        members = values[values != 0]
        self.centroids = nn.Parameter(cluster_values(members, self.codebook, initialization))
        ordered, order = self.centroids.detach().sort()
        nearest = torch.bucketize(values, (ordered[1:] + ordered[:-1]) / 2)
        self.register_buffer("index", order[nearest].to(torch.int32))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on the codebook."""
        return _look_up(self.centroids, self.index, weight)


class ProductWeight(nn.Module):
    """A weight parametrization: product quantization (Gong 2014; Wu 2016 for convolutions).

    The input channels are divided into sub-spaces of ``width`` channels, the last one maybe narrower. A filter's weights in one
    sub-space, at one place of the kernel, are one of ``2^(bits width)`` vectors, so that an index costs ``bits`` for each weight;
    at most as many as there are sub-vectors.

    Args:
        weight: ``f x c x ...``.
        bits: for each weight.
        width: channels of a sub-vector.
    """

    def __init__(self, weight: Tensor, bits: int, width: int = 2) -> None:
        super().__init__()
        self.weight_bits = bits
        matrix = weight.detach().movedim(1, -1).flatten(0, -2)  # places by channels
        whole = matrix.shape[1] // width * width
        spaces = [part for part in (matrix[:, :whole].reshape(len(matrix), -1, width), matrix[:, None, whole:]) if part.numel()]
        found = [cluster_vectors(part.movedim(1, 0), _entries(bits, part.shape[2], len(matrix))) for part in spaces]
        self.vectors = nn.ParameterList([nn.Parameter(vectors) for vectors, _ in found])
        for i, (vectors, codes) in enumerate(found):
            first = torch.arange(len(codes), device=codes.device)[:, None] * vectors.shape[1]
            self.register_buffer(f"index{i}", (codes + first).to(torch.int32))

    @property
    def codebook(self) -> int:
        """Numbers in all codebooks."""
        return sum(vectors.numel() for vectors in self.vectors)

    def _parts(self) -> list[tuple[Tensor, Tensor]]:
        """Codebooks ``m x n x width`` and the entries ``m x v`` among all of them, for sub-spaces of equal width."""
        return [(vectors, self.get_buffer(f"index{i}")) for i, vectors in enumerate(self.vectors)]

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on the codebooks."""
        taken = [v.flatten(0, 1).index_select(0, i.flatten()).reshape(*i.shape, -1).movedim(0, 1).flatten(1) for v, i in self._parts()]
        matrix = torch.cat(taken, 1)
        rest = weight.movedim(1, -1).shape
        return torch.where(weight == 0, 0, matrix.reshape(rest).movedim(-1, 1))

    def products(self, patches: Tensor) -> Tensor:
        """What the layer computes without its bias, by tables of products instead of weights (Wu 2016, equation 4).

        Each sub-vector of the input is multiplied by the entries of its sub-space once; every filter then only adds up.
        For weights that are not pruned.

        Args:
            patches: inputs under the kernel, ``b x c x p`` (places of the kernel; one for a linear layer).

        Returns:
            ``b x f``.
        """
        total: Tensor | float = 0.0
        start = 0
        for vectors, index in self._parts():
            spaces, _, width = vectors.shape
            inputs = patches[:, start : start + spaces * width].reshape(len(patches), spaces, width, -1)
            table = torch.einsum("bmwp,mnw->bpmn", inputs, vectors).flatten(2)  # the entries of all sub-spaces side by side
            places = index.reshape(spaces, -1, patches.shape[2]).long()  # m x f x p
            total = total + torch.stack([table[:, p][:, places[:, :, p]].sum(1) for p in range(patches.shape[2])]).sum(0)
            start += spaces * width
        return torch.as_tensor(total)


def _entries(bits: int, width: int, vectors: int) -> int:
    return min(1 << min(bits * width, 62), vectors)


@dataclass(frozen=True)
class Codebooks:
    """Shared values (``kmeans``) or vectors (``product``) for the weights of a layer; of a factorized layer, of each factor.

    Attributes:
        initialization: of k-means, one of `INITIALIZATIONS`.
        width: channels of a sub-vector of ``product``.

    Raises:
        UnknownNameError: if there is no such initialization.
    """

    initialization: str = "linear"
    width: int = 2

    def __post_init__(self) -> None:
        if self.initialization not in INITIALIZATIONS:
            raise UnknownNameError("initialization of k-means", self.initialization, INITIALIZATIONS)

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Every layer; vectors need more than one input channel in a group."""
        deep = workload.in_channels // workload.groups > 1
        return {("weight_quantizer", "kmeans"): np.ones(len(workload.names), bool), ("weight_quantizer", "product"): deep}

    def widest(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.int64]]:
        """The most bits at which a codebook is no larger than what it stands for: the weights of a layer, or its sub-vectors."""
        width = np.minimum(self.width, workload.in_channels // workload.groups)
        vectors = workload.out_channels * workload.kernel_h * workload.kernel_w
        shared, product = (np.floor(np.log2(np.maximum(n, 1))).astype(np.int64) for n in (workload.weights, vectors))
        return {("weight_quantizer", "kmeans"): shared, ("weight_quantizer", "product"): product // np.maximum(width, 1)}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """Bits of an index for each weight, and the numbers of the codebooks, which are stored beside."""
        layer = owners(workload, choices.layers)
        shared, product = (choices.uses("weight_quantizer", name)[:, layer] for name in ("kmeans", "product"))
        if not (shared | product).any():
            return workload
        bits = choices.weight_bits[:, layer]
        entries = np.where(shared, np.minimum(1 << np.minimum(bits, 62), workload.weights), workload.codebook)
        return workload.replace(
            weight_bits=np.where(shared | product, bits, workload.weight_bits),
            codebook=np.where(product, self._numbers(workload, bits), entries),
        )

    def _numbers(self, workload: Workload, bits: NDArray[np.int64]) -> NDArray[np.int64]:
        channels = workload.in_channels // workload.groups
        vectors = workload.out_channels * workload.kernel_h * workload.kernel_w
        rest = channels % self.width
        whole, last = (np.minimum(1 << np.minimum(bits * width, 62), vectors) for width in (self.width, rest))
        return np.asarray((channels - rest) * whole + rest * last)

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Put a codebook on the weights of each layer."""
        for name, choice in configuration.items():
            if choice.weight_bits == FLOAT_BITS or choice.weight_quantizer not in ("kmeans", "product"):
                continue
            for layer in weight_layers(model, name):
                weight, bits = layer.weight, choice.weight_bits
                is_shared = choice.weight_quantizer == "kmeans"
                book = KMeansWeight(weight, bits, self.initialization) if is_shared else ProductWeight(weight, bits, self.width)
                parametrize.register_parametrization(layer, "weight", book)
        return model
