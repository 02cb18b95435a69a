"""Coded size: what weights are expected to take in a packed file, known without weights.

The file takes the smallest form of each layer (docs/storage.md): all levels, or the places of the non-zeros and then their levels, at
a fixed width or Huffman-coded. The entropy of levels is counted on normal weights of which the least were removed, put on levels by
the quantizer itself; that of places follows from how many weights were removed together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from autocomp.choice import CATEGORIES, FIXED_POINT, FLOAT_BITS, Choices, Configuration
from autocomp.compression.codebook import KMeansWeight
from autocomp.compression.layers import owners
from autocomp.compression.quantizers import WEIGHT_MODULES
from hwmodels import Pattern, Workload

Floats = NDArray[np.float64]
SAMPLE = 4_096  # normal weights, at equal shares of the distribution
DENSITIES = np.append(np.geomspace(0.01, 0.9, 24), 1.0)
GRID = 1_024  # densities that are told apart; between those of `DENSITIES` tables are interpolated
HEADER, QUANTIZER = 20, 14  # bytes of the index that compressed weights take; of a quantizer of activations and its part of it
STEP_BITS = 32  # of a scale
LENGTH_BITS, BLOCK_BITS = 5, 20 / 1_024  # of Huffman coding: a symbol's entry in the table of lengths, a weight's share of a block's head
CAUTION = 1.04  # real weights are no normal ones: a limit that is met on paper shall be met by the file
WIDEST_CODED = 12  # bits of a level up to which it is Huffman-coded
_QUANTIZERS = CATEGORIES["weight_quantizer"]
_HAS_SCALES = np.array([name in ("uniform", "binary", "ternary", "hashed_binary") for name in ("", *_QUANTIZERS)])  # one for each filter


@dataclass(frozen=True)
class Beside:
    """What a packed file holds beside the weights of its layers: index, biases, statistics; bytes.

    Attributes:
        fixed: whatever is done to the network.
        shrinking: of the untouched network; it goes down with the number of output channels of all layers.
        channels: that number, untouched.
    """

    fixed: float = 0.0
    shrinking: float = 0.0
    channels: int = 1

    @classmethod
    def of(cls, workload: Workload, file: int, tensors: int) -> Beside:
        """What it is for a network.

        Args:
            workload: the network's layers, untouched, ``l``.
            file: length of its packed file.
            tensors: bytes of all tensors in it.
        """
        weights = float(coded_bytes(workload, Choices.of([Configuration({})], workload.names)).sum())
        return cls(file - tensors, tensors - weights, max(int(workload.out_channels.sum()), 1))


NOTHING = Beside()


def packed_bytes(workload: Workload, choices: Choices, beside: Beside) -> Floats:
    """Bytes that the packed files of ``b`` candidates are expected to have (``b``), see `coded_bytes`."""
    owner = owners(workload, choices.layers)
    begins = np.flatnonzero(np.diff(owner, prepend=-1))
    # the last factor has the layer's channels; a layer that no candidate uses has none in its first slot either
    last = np.maximum.reduceat(np.where(workload.used, np.arange(len(owner)), begins[owner]), begins, axis=-1)
    channels = np.take_along_axis(np.broadcast_to(workload.out_channels, workload.shape), last, axis=-1)
    return np.asarray(coded_bytes(workload, choices).sum(-1) + beside.fixed + beside.shrinking * channels.sum(-1) / beside.channels)


def coded_bytes(workload: Workload, choices: Choices) -> Floats:
    """Bytes that each layer slot's weights and quantizers are expected to take in a packed file, ``b x l``.

    Args:
        workload: what the choices leave of the network, ``b x l``.
        choices: of the ``b`` candidates.
    """
    owner = owners(workload, choices.layers)
    bits = choices.weight_bits[:, owner]
    quantizer = np.where(bits < FLOAT_BITS, choices.weight_quantizer[:, owner], -1) + 1
    dense, nonzero, zeros = np.moveaxis(_looked_up(quantizer, bits, workload.weight_density), -1, 0)
    places = np.minimum(np.maximum(_places(workload, zeros), 1 - zeros), 1)
    fixed, coded, floating = np.minimum(bits, places + bits * (1 - zeros)), np.minimum(dense, places + nonzero) + BLOCK_BITS, FLOAT_BITS
    lengths = np.where(bits < FLOAT_BITS, LENGTH_BITS * 2.0 ** np.minimum(bits, WIDEST_CODED), 0)
    scales = STEP_BITS * (_HAS_SCALES[quantizer] * workload.out_channels + workload.codebook)
    levels = np.minimum(fixed * workload.weights, CAUTION * coded * workload.weights + lengths) + scales
    numbers = np.minimum(floating, places + floating * (1 - zeros)) * workload.weights
    is_quantized = choices.activation_bits[:, owner] < FLOAT_BITS
    header = HEADER * ((bits < FLOAT_BITS) | (zeros > 0)) + QUANTIZER * is_quantized
    return np.asarray(np.where(workload.used, np.minimum(levels, numbers) / 8 + header, 0))


def _looked_up(quantizer: NDArray[np.int64], bits: NDArray[np.int64], density: Floats) -> Floats:
    """The rows of `_table` for ``b x l`` quantizers (from 1, 0 for none), bits and densities."""
    kinds = quantizer * (FLOAT_BITS + 1) + bits
    present = np.flatnonzero(np.bincount(kinds.ravel())) if kinds.size else np.array([FLOAT_BITS])
    place = np.zeros(int(present.max()) + 1, np.int64)
    place[present] = np.arange(len(present))
    return np.asarray(_tables(*present.tolist())[place[kinds], np.rint(density * GRID).astype(np.int64)])


@lru_cache(maxsize=64)
def _tables(*kinds: int) -> Floats:
    return np.stack([_table(*divmod(kind, FLOAT_BITS + 1)) for kind in kinds])


def _places(workload: Workload, zeros: Floats) -> Floats:
    """Bits of where the non-zeros are, for each weight: those that a pattern removed go together, a quantizer's own are single."""
    together = np.ones(np.shape(workload.pattern), np.int64)
    sizes = {
        Pattern.VECTOR: workload.kernel_w,
        Pattern.KERNEL: workload.kernel_h * workload.kernel_w,
        Pattern.GROUP: workload.gemm_n,
    }
    for pattern, size in sizes.items():
        together = np.where(workload.pattern == pattern, size, together)
    density = workload.weight_density
    own = np.clip(1 - (1 - zeros) / np.maximum(density, 1 / GRID), 0, 1)
    return _entropy(density) / together + density * _entropy(own)


def _entropy(share: Floats) -> Floats:
    """Of a yes or no, bits."""
    p = np.clip(share, 1e-12, 1 - 1e-12)
    return np.asarray(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


@cache
def _table(quantizer: int, bits: int) -> Floats:
    """For each density on the `GRID`: bits of a weight where all are written, of a weight where its zeros are left out, share of zeros."""
    name = _QUANTIZERS[quantizer - 1] if quantizer else ""
    counted = np.array([_counted(name, bits, density) for density in DENSITIES])
    grid = np.arange(GRID + 1) / GRID
    return np.stack([np.interp(grid, DENSITIES, column) for column in counted.T], axis=1)


def _counted(name: str, bits: int, density: float) -> tuple[float, float, float]:
    """A row of the table, from a sample of weights."""
    if name == "product" or not name:  # codes of whole vectors; floating-point numbers
        return bits, bits * density, 1 - density
    shares = (torch.arange(SAMPLE, dtype=torch.float64) + 0.5) / SAMPLE
    weights = torch.special.ndtri(shares).float()
    weights[weights.abs().argsort()[: SAMPLE - round(density * SAMPLE)]] = 0
    levels, counts = np.unique(_quantized(name, weights.reshape(1, -1), bits).numpy(), return_counts=True)
    found = counts / SAMPLE
    zeros = float(found[levels == 0].sum())
    entropy = float(-(found * np.log2(found)).sum())
    return max(entropy, min(bits, 1)), max(entropy - float(_entropy(np.array(zeros))), 0.0), zeros


def _quantized(name: str, weights: torch.Tensor, bits: int) -> torch.Tensor:
    with torch.inference_mode():
        if name == "kmeans":
            result = KMeansWeight(weights, bits)(weights)
        else:
            result = WEIGHT_MODULES["ternary" if name == FIXED_POINT else name](weights, bits)(weights)
        return torch.as_tensor(result)
