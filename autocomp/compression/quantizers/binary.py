"""Binary weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import mean_magnitude, straight_through


class BinaryWeight(nn.Module):
    """``alpha sign(w)`` with one ``alpha = mean |w|`` per filter (BWN, Rastegari 2016, section 3.1).

    No other scale and no other signs come nearer to ``w`` in the squared sense. In training the gradient passes straight through
    to the full-precision weight (BinaryConnect, Courbariaux 2015). A weight that pruning has
    set to zero stays zero and does not count in the mean.
    """

    weight_bits = 1

    def forward(self, weight: Tensor) -> Tensor:
        """The weight on two levels."""
        with torch.no_grad():
            quantized = weight.sign() * mean_magnitude(weight, weight != 0)
        return straight_through(weight, quantized)
