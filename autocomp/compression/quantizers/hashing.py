"""Binary weights that keep what a layer answers: the start of training by hashing (BWNH, Hu 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.base import Calibration
from autocomp.compression.layers import Layer
from autocomp.compression.quantizers.grid import mean_magnitude
from autocomp.tracing import measuring

IMAGES = 64
"""Images that answers are kept on; a layer of some size sees thousands of patches of them."""

_ROUNDS = 10  # over all bits, of which the first few change most (Hu 2018, section 3.3)
_LEAST_GAIN = 1e-9  # a share; below it is rounding
_RIDGE = 1e-6  # of the mean square of what is seen: staying near the weights decides where images do not


def hashed_signs(weight: Tensor, gram: Tensor) -> tuple[Tensor, Tensor]:
    """Signs and a scale per filter with answers near those of the weights: ``min |X w - a X b|^2`` over b in {-1, 1} and a.

    The best scale of given signs is ``a = b' G w / b' G b``, which leaves an error that falls with ``(b' G w)^2 / b' G b``. Bit by bit the
    signs are changed where that gains (discrete cyclic coordinate descent, Hu et al., "From Hashing to CNNs", AAAI 2018, section 3.3; there
    the scale is changed only after all bits, which stops at more of the signs that no single bit improves). The start is that of BWN.

    Args:
        weight: ``n x d``; zeros are pruned weights, which stay zero.
        gram: ``X' X`` of the inputs, ``d x d``.

    Returns:
        Signs ``n x d`` (zero where the weight is) and positive scales ``n``.
    """
    wanted = weight @ gram
    signs = weight.sign()
    made = signs @ gram
    along, energy = (signs * wanted).sum(1), (signs * made).sum(1)  # b' G w and b' G b
    for _ in range(_ROUNDS):
        before = signs.clone()
        for j in range(weight.shape[1]):
            along_other = along - 2 * signs[:, j] * wanted[:, j]
            energy_other = energy - 4 * signs[:, j] * (made[:, j] - signs[:, j] * gram[j, j])
            turns = (_gain(along_other, energy_other) > _gain(along, energy) * (1 + _LEAST_GAIN)) & (signs[:, j] != 0)
            made -= 2 * torch.outer(torch.where(turns, signs[:, j], 0), gram[j])
            signs[:, j] = torch.where(turns, -signs[:, j], signs[:, j])
            along, energy = torch.where(turns, along_other, along), torch.where(turns, energy_other, energy)
        if torch.equal(signs, before):
            break
    return signs, along.clamp(min=0) / energy.clamp(min=torch.finfo(signs.dtype).tiny)


def _gain(along: Tensor, energy: Tensor) -> Tensor:
    return along.clamp(min=0).square() / energy.clamp(min=torch.finfo(energy.dtype).tiny)


@torch.no_grad()
def hashed(layer: Layer, model: nn.Module, calibration: Calibration) -> Tensor:
    """Weights that `BinaryWeight` puts on the signs and scales of `hashed_signs`; their order of magnitude stays the layer's.

    Args:
        layer: of the model; as pruned.
        model: gives the layer's inputs; stays as it is.
        calibration: the first `IMAGES` of it are looked at.
    """
    weight = layer.weight.detach()
    groups = getattr(layer, "groups", 1)
    rows = weight.flatten(1).double().reshape(groups, -1, weight[0].numel())
    images = calibration.images[:IMAGES]
    grams = _grams(layer, model, images)
    calibration.spend(1, len(images))
    if grams is None:  # a layer that does not run has no answers to keep
        return weight
    found = [hashed_signs(own, gram) for own, gram in zip(rows, grams, strict=True)]
    signs, scale = (torch.cat([pair[i] for pair in found]).to(weight) for i in (0, 1))
    magnitudes = weight.abs() / mean_magnitude(weight, weight != 0).clamp(min=torch.finfo(weight.dtype).tiny)
    return signs.reshape(weight.shape) * magnitudes * scale.reshape(-1, *[1] * (weight.ndim - 1))


def _grams(layer: Layer, model: nn.Module, images: Tensor) -> Tensor | None:
    """``X' X`` of the patches that each group of a layer sees, ``g x d x d``, with a small ridge."""
    seen: list[Tensor] = []

    def watch(layer: Layer, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        patches = _patches(layer, inputs[0]).double()
        seen.append(torch.einsum("ngd,nge->gde", patches, patches))

    hook = layer.register_forward_hook(watch)
    try:
        with measuring(model):
            model(images)
    finally:
        hook.remove()
    if not seen:
        return None
    gram = torch.stack(seen).sum(0)
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=torch.finfo(gram.dtype).tiny)
    return gram + ridge[:, None, None] * torch.eye(gram.shape[1]).to(gram)


def _patches(layer: Layer, x: Tensor) -> Tensor:
    """The inputs of each output, by group, ``n x g x d``; the layer itself cuts them out, so that it steps and pads as ever."""
    if isinstance(layer, nn.Linear):
        return x.flatten(0, -2)[:, None]
    inputs = layer.weight[0].numel()
    every = torch.eye(inputs).to(x).reshape(inputs, *layer.weight.shape[1:]).repeat(layer.groups, 1, 1, 1)
    cut: Tensor = layer._conv_forward(x, every, None)
    return cut.movedim(1, -1).reshape(-1, layer.groups, inputs)
