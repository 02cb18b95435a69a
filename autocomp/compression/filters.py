"""Which filters go: what each group of tied channels is worth.

Groups are compared within their family only, so that criteria need no common scale across layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.channels import FROZEN, NORMS, ChannelMap, Labels
from autocomp.compression.base import Calibration
from autocomp.compression.importance import WEIGHT_CRITERIA, importances, needed
from autocomp.compression.next_layers import RECONSTRUCTIONS, contributions, readers, refit, sample
from autocomp.tracing import LAYERS

Floats = NDArray[np.float64]

FILTER_CRITERIA = (*WEIGHT_CRITERIA, "bn_scale", *RECONSTRUCTIONS)
"""Of its weights: ``l1``, ``l2`` (Li 2017), ``taylor`` (Molchanov 2019), ``obd`` (LeCun 1990). ``bn_scale``: the factor of
batch norm (network slimming, Liu 2017). What the next layers make of it: ``thinet`` (Luo 2017), ``lasso`` (He 2017)."""


def least_important(model: nn.Module, channels: ChannelMap, counts: Labels, criterion: str, calibration: Calibration | None) -> Labels:
    """The groups that go.

    After ``thinet`` and ``lasso`` the layers that read the rest are refitted by least squares, in place.

    Args:
        model: the network that the channel map is about, not yet cut.
        channels: the map.
        counts: how many groups of each family go (``f``).
        criterion: one of `FILTER_CRITERIA`.
        calibration: images for those that need them.

    Raises:
        ConfigError: if the criterion needs images and there are none.
    """
    if criterion in RECONSTRUCTIONS:
        return _reconstructing(model, channels, counts, criterion, needed(criterion, calibration))
    return _least(channels, _worth(model, channels, criterion, calibration), counts)


def _least(channels: ChannelMap, worth: Floats, counts: Labels) -> Labels:
    """The least of each family; of equals the first."""
    ranked = [f.members[np.argsort(worth[f.members], kind="stable")] for f in channels.families]
    return np.concatenate([np.zeros(0, np.int64), *(members[:count] for members, count in zip(ranked, counts, strict=True))])


def _worth(model: nn.Module, channels: ChannelMap, criterion: str, calibration: Calibration | None) -> Floats:
    if criterion == "bn_scale":
        return _by_norms(model, channels)
    layers = {name: module for name in channels.outputs if isinstance(module := model.get_submodule(name), LAYERS)}
    found = importances(model, list(layers.values()), criterion, calibration)
    values = ((name, _of_filters(value, criterion)) for name, value in zip(layers, found, strict=True))
    return _of_groups(channels, values)


def _of_filters(value: Tensor, criterion: str) -> Floats:
    """The worth of each filter of one layer; magnitudes relative to their mean, so that wide and narrow layers count alike."""
    of_filters: Floats = value.flatten(1).sum(1).double().cpu().numpy()
    if criterion == "l2":
        of_filters = np.sqrt(of_filters)
    return of_filters / max(of_filters.mean(), np.finfo(float).tiny) if criterion in {"l1", "l2"} else of_filters


def _of_groups(channels: ChannelMap, values: Iterator[tuple[str, Floats]]) -> Floats:
    """What is said of each module's output channels, summed over the members of each group."""
    total = np.zeros(1 + max(int(family.members.max()) for family in channels.families))
    for name, of_channels in values:
        groups = channels.outputs[name]
        np.add.at(total, groups[groups != FROZEN], of_channels[groups != FROZEN])
    return total


def _by_norms(model: nn.Module, channels: ChannelMap) -> Floats:
    """The size of the factors of batch norm; where a family has none, the L1 norm of its filters."""
    factors = {
        name: module.weight.detach().abs().double().cpu().numpy()
        for name in channels.outputs
        if isinstance(module := model.get_submodule(name), NORMS) and module.affine
    }
    scale = _of_groups(channels, ((name, f / max(f.mean(), np.finfo(float).tiny)) for name, f in factors.items()))
    has_norm = _of_groups(channels, ((name, np.ones(len(f))) for name, f in factors.items())) > 0
    return np.where(has_norm, scale, _worth(model, channels, "l1", None))


def _reconstructing(model: nn.Module, channels: ChannelMap, counts: Labels, criterion: str, calibration: Calibration) -> Labels:
    generator = torch.Generator().manual_seed(0)
    families = [family for family, count in zip(channels.families, counts, strict=True) if count]
    layers = readers(model, channels, families)
    samples = sample(model, layers, calibration.images, generator)
    calibration.spend(1)
    worth = _worth(model, channels, "l1", None)  # for families that no layer adds up
    found = contributions(families, channels.inputs, layers, samples, generator)
    for family, count, parts in zip(families, counts[counts > 0].tolist(), found, strict=True):
        if parts is not None:
            worth[family.members] = RECONSTRUCTIONS[criterion](parts, len(family.members) - count)
    removed = _least(channels, worth, counts)
    refit(channels, layers, samples, removed)
    return removed
