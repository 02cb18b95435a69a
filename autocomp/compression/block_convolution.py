"""Block convolution: a map is cut into blocks that are convolved on their own, so that a block never waits for its neighbours (Li 2018).

Every block is padded with zeros as if it were a whole map (Li et al., "Block convolution: towards memory-efficient inference of
large-scale CNNs on FPGA", DATE 2018, section II: block padding), so that an accelerator keeps a block on the chip from layer to layer and
no border is fetched twice. The network changes: values near the borders of a block are others, and fine-tuning makes up for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.choice import Choices, Configuration
from autocomp.compression.layers import owners, weight_layers
from autocomp.errors import ConfigError
from hwmodels import Op, Workload


class BlockConv2d(nn.Conv2d):
    """A convolution, block by block; `block` is the edge of a block in output pixels."""

    block: int

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        height, width = (-(-size // stride) for size, stride in zip(input.shape[2:], _pair(self.stride), strict=True))
        if max(height, width) <= self.block:
            ordinary: Tensor = super()._conv_forward(input, weight, bias)
            return ordinary
        edges = [self.block * stride for stride in _pair(self.stride)]
        missing = [-size % edge for size, edge in zip(input.shape[2:], edges, strict=True)]
        padded = F.pad(input, (0, missing[1], 0, missing[0]))
        n, c, padded_h, padded_w = padded.shape
        rows, columns = padded_h // edges[0], padded_w // edges[1]
        blocks = padded.reshape(n, c, rows, edges[0], columns, edges[1]).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        made: Tensor = super()._conv_forward(blocks, weight, bias)
        whole = made.reshape(n, rows, columns, -1, self.block, self.block).permute(0, 3, 1, 4, 2, 5)
        return whole.reshape(n, -1, rows * self.block, columns * self.block)[..., :height, :width]


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _can_be_cut(layer: nn.Module) -> bool:
    """Whether a convolution looks beyond a pixel, keeps the size of a map (but for its stride), and pads with zeros."""
    if not isinstance(layer, nn.Conv2d) or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return False
    sizes = zip(layer.kernel_size, _pair(layer.dilation), _pair(layer.padding), strict=True)
    return max(layer.kernel_size) > 1 and all(
        kernel % 2 == 1 and 2 * padding == dilation * (kernel - 1) for kernel, dilation, padding in sizes
    )


@dataclass(frozen=True)
class BlockConvolution:
    """Cuts every convolution that can be cut, whatever a configuration says about it; of a factorized layer, its factors.

    Attributes:
        edge: of a block in output pixels; a map that is no larger stays whole.
        layers: convolutions that can be cut.

    Raises:
        ConfigError: if the edge is below 2.
    """

    edge: int
    layers: frozenset[str]

    def __post_init__(self) -> None:
        if self.edge < 2:
            raise ConfigError(f"`block` must be at least 2, or null for ordinary convolutions, but is {self.edge}.")

    @classmethod
    def of(cls, network: nn.Module, edge: int) -> BlockConvolution:
        """With the layers of one network."""
        return cls(edge, frozenset(name for name, layer in network.named_modules() if _can_be_cut(layer)))

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """No knob: it is done to the whole network."""
        return {}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """A block where a map is larger than one; a 1 x 1 convolution has no neighbours."""
        cut = np.array([name in self.layers for name in choices.layers])[owners(workload, choices.layers)]
        looks = (workload.op == Op.CONV) & (np.maximum(workload.kernel_h, workload.kernel_w) > 1)
        is_large = np.maximum(workload.out_h, workload.out_w) > self.edge
        return workload.replace(block=np.where(cut & looks & is_large, self.edge, workload.block))

    def apply(self, model: nn.Module, configuration: Mapping[str, Any] | Configuration) -> nn.Module:
        """Turn the layers, or their factors, into block convolutions."""
        for name in sorted(self.layers):
            for layer in weight_layers(model, name):
                if _can_be_cut(layer):
                    layer.__class__ = BlockConv2d
                    layer.block = self.edge  # type: ignore[assignment]
        return model
