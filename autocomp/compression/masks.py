"""Masks: what holds removed weights at zero, and how it changes while the network is fine-tuned.

The protocol of dynamic masks, and of anything else that changes on a schedule: a module with a method
``advance(progress: float)`` is told after each step of the optimizer how much of the fine-tuning is over, in (0, 1].

In evaluation mode every mask removes all that was asked for, at any progress: what is measured is what is priced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.choice import Choice
from autocomp.compression.layers import Layer
from autocomp.compression.patterns import INDEX_BITS, WEIGHT_PATTERNS, dims_of_layer, grouped, groups_of
from hwmodels import Pattern

Worth = Callable[[Tensor], Tensor]

SETTLED = 0.75
"""Progress from which masks stay, so that the rest of the training makes good what they did."""

_INTERVAL = 0.01  # of progress between two looks at the weights


@dataclass(frozen=True)
class Selection:
    """Which weights of a layer stay.

    Attributes:
        pattern: one of `WEIGHT_PATTERNS`.
        sparsity: fraction that is removed in the end.
        groups: of the convolution.
    """

    pattern: str
    sparsity: float
    groups: int = 1

    def mask(self, saliency: Tensor, share: float = 1.0) -> Tensor:
        """Which weights stay, from what each is worth, once a share of the final sparsity is reached; shaped like the weight."""
        kept = WEIGHT_PATTERNS[self.pattern].mask(grouped(saliency, self.groups), share * self.sparsity)
        return kept.reshape(saliency.shape).clone()  # units are stored expanded


class Mask(nn.Module):
    """A weight parametrization that holds removed weights at zero."""

    mask: Tensor

    def __init__(self, mask: Tensor, pattern: int = Pattern.FINE, index_bits: int = INDEX_BITS) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.pattern, self.index_bits = pattern, index_bits

    @property
    def weight_density(self) -> float:
        """Fraction of weights that are kept."""
        return int(self.mask.count_nonzero()) / self.mask.numel()

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the removed entries zeroed."""
        return weight * self.mask


class DynamicMask(Mask):
    """A mask that is chosen again while the network learns, from the weights as they are behind it.

    Until the first `advance` it is a static mask.

    Args:
        weight: the layer's own parameter, which the optimizer changes.
        worth: what a weight is worth, from its value alone.
        selection: how many stay, and in which pattern.
        pattern, index_bits: see `hwmodels.Workload`.
    """

    def __init__(self, weight: nn.Parameter, worth: Worth, selection: Selection, pattern: int, index_bits: int) -> None:
        super().__init__(selection.mask(worth(weight.detach())), pattern, index_bits)
        self.worth, self.selection = worth, selection
        # in a tuple, so that it is not registered as a parameter twice; copies keep it one with the layer's own
        self._held = (weight,)
        self._due = 0.0

    @torch.no_grad()
    def advance(self, progress: float) -> None:
        """Choose anew once in a hundredth of the training, and for the last time at `SETTLED`."""
        if progress < self._due:
            return
        self._choose(min(progress / SETTLED, 1.0))
        self._due = min(progress + _INTERVAL, SETTLED) if progress < SETTLED else float("inf")

    def _choose(self, share: float) -> None:
        raise NotImplementedError

    def _saliency(self) -> Tensor:
        return self.worth(self._held[0].detach())


class SurgeryMask(DynamicMask):
    """Dynamic network surgery (Guo 2016): removed weights go on learning, and come back if they grow.

    The gradient passes the mask unchanged (equation 4 of the paper), so removed weights learn from what they would have
    done. A removed one replaces a kept one only if it is worth more by `margin`, the band between the thresholds a and b
    of equation 3; how many stay is always the same, so that the price is.
    """

    margin = 0.1

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with the removed entries zeroed, the gradient with none."""
        return weight + (weight * self.mask - weight).detach()

    def _choose(self, share: float) -> None:
        self.mask.copy_(self.selection.mask(self._saliency() * (1 + self.margin * self.mask)))


class GradualMask(DynamicMask):
    """More and more weights go: ``s (1 - (1 - t)^3)`` of them, from none at t = 0 to all at t = 1 (Zhu 2017, equation 1)."""

    current: Tensor

    def __init__(self, weight: nn.Parameter, worth: Worth, selection: Selection, pattern: int, index_bits: int) -> None:
        super().__init__(weight, worth, selection, pattern, index_bits)
        self.register_buffer("current", self.mask.clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight less what went so far; less all that is to go in evaluation mode."""
        return weight * (self.current if self.training else self.mask)

    def _choose(self, share: float) -> None:
        saliency = self._saliency()
        self.mask.copy_(self.selection.mask(saliency))
        self.current.copy_(self.selection.mask(saliency, 1.0 - (1.0 - share) ** 3))


class LassoMask(GradualMask):
    """Group lasso on the units of a pattern (Yuan 2006, Wen 2016), which are then zeroed gradually.

    After each step of the optimizer the penalty's proximal operator shrinks the norm of every unit by the same amount,
    ``w (1 - a / ||w||)+``. Until masks settle, ``a`` adds up to the mean norm: a unit lives on if gradients hold it up.
    """

    def __init__(self, weight: nn.Parameter, worth: Worth, selection: Selection, pattern: int, index_bits: int) -> None:
        super().__init__(weight, worth, selection, pattern, index_bits)
        self._progress = 0.0

    @torch.no_grad()
    def advance(self, progress: float) -> None:
        """Shrink, and choose anew when it is time."""
        passed = min(progress, SETTLED) - min(self._progress, SETTLED)
        self._progress = progress
        if passed > 0:
            self._shrink(passed / SETTLED)
        super().advance(progress)

    def _shrink(self, rate: float) -> None:
        weight = self._held[0]
        spans = WEIGHT_PATTERNS[self.selection.pattern].spans
        view = grouped(weight.detach(), self.selection.groups)
        norms = view.square().sum(spans, keepdim=True).sqrt() if spans else view.abs()
        factor = (1 - rate * norms.mean() / norms.clamp(min=torch.finfo(norms.dtype).tiny)).clamp(min=0)
        weight.mul_(factor.expand(view.shape).reshape(weight.shape))


DYNAMICS: Mapping[str, type[DynamicMask] | None] = {
    "static": None,
    "gradual": GradualMask,
    "surgery": SurgeryMask,
    "group_lasso": LassoMask,
}


def put_mask(layer: Layer, choice: Choice, saliency: Tensor, *, dynamics: str, worth: Worth | None) -> None:
    """Hold the weights of a layer that do not stay at zero, from now on.

    Args:
        layer: a convolution or a linear layer.
        choice: pattern and sparsity.
        saliency: what each weight is worth, shaped like the weight.
        dynamics: one of `DYNAMICS`.
        worth: says it again when weights have changed; static masks need none.
    """
    pattern, dims = WEIGHT_PATTERNS[choice.pattern], dims_of_layer(layer)
    marks = int(pattern.code(dims)), int(pattern.index_bits(dims))
    selection, kind, weight = Selection(choice.pattern, choice.sparsity, groups_of(layer)), DYNAMICS[dynamics], layer.weight
    mask = Mask(selection.mask(saliency), *marks)
    if kind is not None and worth is not None and isinstance(weight, nn.Parameter):
        mask = kind(weight, worth, selection, *marks)
    parametrize.register_parametrization(layer, "weight", mask)
