"""Filters by what the next layers make of them: ThiNet (Luo 2017) and LASSO (He 2017), with least squares afterwards.

What a layer computes is a sum over the channels that it reads. Both methods look at that sum at places drawn at random, and
keep the channels from which it can be rebuilt. A group of tied channels may be read by several layers; their sums count
alike, each relative to its own size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.channels import ChannelMap, Family, Labels
from autocomp.compression.layers import Layer
from autocomp.compression.patterns import grouped, groups_of
from autocomp.tracing import LAYERS, measuring

Floats = NDArray[np.float64]
Samples = Mapping[str, Tensor]
"""What each reading layer saw: places x input channels x kernel positions."""

_PLACES = 10  # output pixels drawn from each image (He 2017, section 4)
_BATCH = 32  # images at once
_RIDGE = 1e-3  # pulls new weights to the old ones; relative to the power of their inputs
_FIRST = 1e-4  # penalty that the LASSO begins with, relative to the one that leaves nothing
_GROWTH = 1.3  # factor between two penalties
_SWEEPS = 50  # of coordinate descent, for each penalty at most


def readers(model: nn.Module, channels: ChannelMap, families: Sequence[Family]) -> dict[str, Layer]:
    """Layers that add up channels of some families; a depthwise layer only passes them on."""
    members = np.concatenate([np.zeros(0, np.int64), *(family.members for family in families)])
    found = {}
    for name, groups in channels.inputs.items():
        layer = model.get_submodule(name)
        if isinstance(layer, LAYERS) and np.isin(groups, members).any() and not 1 < groups_of(layer) == len(groups):
            found[name] = layer
    return found


def sample(model: nn.Module, layers: Mapping[str, Layer], images: Tensor, generator: torch.Generator) -> Samples:
    """What some layers see at random output pixels, `_PLACES` of each image and call."""
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs, name=name: seen[name].append(_patches(layer, inputs[0], generator)))
        for name, layer in layers.items()
    ]
    try:
        with measuring(model):
            for part in torch.split(images, _BATCH):
                model(part)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


def _patches(layer: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    if not isinstance(layer, nn.Conv2d):
        return x.reshape(-1, x.shape[-1], 1)
    (kh, kw), (sy, sx), (dy, dx) = layer.kernel_size, layer.stride, layer.dilation
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    high, wide = dy * (kh - 1) + 1, dx * (kw - 1) + 1
    rows, columns = (x.shape[2] - high) // sy + 1, (x.shape[3] - wide) // sx + 1
    drawn = torch.randint(rows * columns, (min(_PLACES, rows * columns),), generator=generator).tolist()
    corners = [(pixel // columns * sy, pixel % columns * sx) for pixel in drawn]
    seen = torch.stack([x[:, :, top : top + high : dy, left : left + wide : dx] for top, left in corners], 1)
    return seen.reshape(-1, x.shape[1], kh * kw)


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the groups of one family add to the sums of all layers that read them.

    Attributes:
        gram: ``Z'Z``, ``g x g``, where column j of ``Z`` is what group j adds at each place.
    """

    gram: Floats

    def thinet(self, kept: int) -> Floats:
        """Each group's place in the order in which they go; all that stay share the last (Luo 2017, algorithm 1).

        Greedy: next goes the one whose loss, with those that went before, changes the sum least.
        """
        place, lost = np.full(len(self.gram), float(len(self.gram))), np.zeros(len(self.gram))
        for step in range(len(self.gram) - kept):
            loss = np.where(place == len(self.gram), np.diag(self.gram) + 2 * lost, np.inf)
            gone = int(np.argmin(loss))
            place[gone] = step
            lost += self.gram[gone]
        return place

    def lasso(self, kept: int) -> Floats:
        """The size of each group's factor, under the largest penalty that still leaves ``kept`` of them (He 2017, equation 2).

        Minimises ``|y - Z b|^2 / 2 + a |b|_1``, where ``y`` is the whole sum, by coordinate descent along growing ``a``.
        """
        towards, factors = self.gram.sum(1), np.ones(len(self.gram))
        penalty = max(float(np.abs(towards).max()), np.finfo(float).tiny) * _FIRST
        while True:
            following = self._descended(factors, towards, penalty)
            if np.count_nonzero(following) < kept:
                return np.abs(factors)
            factors, penalty = following, penalty * _GROWTH

    def _descended(self, factors: Floats, towards: Floats, penalty: float) -> Floats:
        found, power = factors.copy(), np.diag(self.gram)
        found[power <= 0] = 0
        for _ in range(_SWEEPS):
            before = found.copy()
            for j in np.flatnonzero(power > 0):
                slope = towards[j] - self.gram[j] @ found + power[j] * found[j]
                found[j] = np.sign(slope) * max(abs(slope) - penalty, 0) / power[j]
            if np.allclose(found, before, rtol=1e-4, atol=1e-6):
                break
        return found


def contributions(
    families: Sequence[Family], inputs: Mapping[str, Labels], layers: Mapping[str, Layer], samples: Samples, generator: torch.Generator
) -> Iterator[Contributions | None]:
    """Those of each family, None where no layer adds its groups up."""
    parts = {name: _parts(layer, samples[name], generator) for name, layer in layers.items()}
    for family in families:
        gram = np.zeros((len(family.members), len(family.members)))
        for name, part in parts.items():
            place = _places(inputs[name], family.members)
            if (place >= 0).any():
                of_group = np.zeros((len(family.members), len(part)))
                np.add.at(of_group, place[place >= 0], part.T[place >= 0])
                gram += of_group @ of_group.T / max(float(np.square(part.sum(1)).sum()), np.finfo(float).tiny)
        yield Contributions(gram) if gram.any() else None


def _places(groups: Labels, members: Labels) -> Labels:
    """Where each channel's group stands among the members, -1 where it does not."""
    place = np.searchsorted(members, groups).clip(max=len(members) - 1)
    return np.where(members[place] == groups, place, -1)


def _parts(layer: Layer, patches: Tensor, generator: torch.Generator) -> Floats:
    """What each input channel adds to one output of the layer, drawn for each place, ``places x channels``."""
    weight = grouped(layer.weight.detach(), groups_of(layer)).flatten(3)  # g x n x c x k
    g, n, c, _ = weight.shape
    place = torch.arange(len(patches), device=weight.device)
    drawn = torch.randint(g * n, (len(patches),), generator=generator).to(weight.device)
    inputs = patches.reshape(len(patches), g, c, -1)[place, drawn // n]
    parts = torch.zeros(len(patches), g, c, dtype=torch.float64, device=weight.device)
    parts[place, drawn // n] = (weight[drawn // n, drawn % n] * inputs).sum(-1).double()
    return parts.flatten(1).cpu().numpy()


@torch.no_grad()
def refit(channels: ChannelMap, layers: Mapping[str, Layer], samples: Samples, removed: Labels) -> None:
    """Change the weights of reading layers so that they compute, without the removed channels, what they did with them.

    Least squares at the places (He 2017, equation 3), in place. The weights of removed channels stay as they are; they are
    to be cut out next.
    """
    for name, layer in layers.items():
        stays = torch.from_numpy(~np.isin(channels.inputs[name], removed))
        if not stays.all():
            weight = grouped(layer.weight.detach(), groups_of(layer))
            _, _, c, h, w = weight.shape
            for of_group, x, here in zip(weight, samples[name].split(c, 1), torch.split(stays, c), strict=True):  # type: ignore[no-untyped-call]
                added = _corrections(x.double(), of_group.flatten(2).double(), here)
                of_group[:, here] += added.reshape(len(added), -1, h, w).to(of_group.dtype)


def _corrections(x: Tensor, weight: Tensor, stays: Tensor) -> Tensor:
    """What is added to the weights of channels that stay, ``n x (stay * k)``; ``x`` is ``places x c x k``, ``weight`` ``n x c x k``."""
    stay, go = x[:, stays].flatten(1), x[:, ~stays].flatten(1)
    gram = stay.T @ stay
    gram.diagonal().mul_(1 + _RIDGE).add_(torch.finfo(gram.dtype).tiny)
    missing = go @ weight[:, ~stays].flatten(1).T  # places x n
    added: Tensor = torch.linalg.solve(gram, stay.T @ missing)
    return added.T


RECONSTRUCTIONS: Mapping[str, Callable[[Contributions, int], Floats]] = {
    "thinet": Contributions.thinet,
    "lasso": Contributions.lasso,
}
"""What each group of a family is worth to the layers that add it up, given how many stay."""
