"""Filter pruning: whole channels go, shapes shrink, tied channels go together (Li 2017, He 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autocomp.channels import NORMS, ChannelMap, ChannelPad, Labels
from autocomp.choice import Choices, Configuration
from autocomp.compression.base import Calibration, removed_count
from autocomp.compression.filters import least_important
from autocomp.errors import ConfigError
from hwmodels import Workload


@dataclass(frozen=True, eq=False)
class FilterPruning:
    """Removes the groups of tied channels that are worth least.

    The first layer that produces a group leads it: a layer's sparsity removes that fraction of each family of groups that
    it leads, rounded down, and at least one group of a family stays.

    Attributes:
        channels: what is tied to what.
        importance: what a group is worth, one of `autocomp.compression.filters.FILTER_CRITERIA`.
        calibration: images for the criteria that need them.
    """

    channels: ChannelMap
    importance: str = "l1"
    calibration: Calibration | None = None

    def given(self, calibration: Calibration) -> FilterPruning:
        """The same with images at hand."""
        return replace(self, calibration=calibration)

    def supported(self, workload: Workload) -> dict[tuple[str, str], NDArray[np.bool_]]:
        """Layers that lead at least one group."""
        return {("pattern", "filter"): np.array([name in self.channels.leaders for name in workload.names])}

    def _removed(self, choices: Choices) -> Labels:
        """Groups that go, ``b x f``."""
        place = [choices.layers.index(family.leader) for family in self.channels.families]
        sizes = np.array([len(family.members) for family in self.channels.families], np.int64)
        sparsity = np.where(choices.uses("pattern", "filter"), choices.sparsity, 0.0)[:, place]
        return np.minimum(removed_count(sparsity, sizes), sizes - 1)

    @cached_property
    def _multiplicity(self) -> dict[tuple[str, ...], tuple[Labels, Labels]]:
        return {}

    def lower(self, workload: Workload, choices: Choices) -> Workload:
        """Fewer input and output channels."""
        if not self.channels.families:
            return workload
        if workload.names not in self._multiplicity:
            sides = (self.channels.inputs, self.channels.outputs)
            inputs, outputs = (self.channels.multiplicity(side, workload.names) for side in sides)
            self._multiplicity[workload.names] = inputs, outputs
        inputs, outputs = self._multiplicity[workload.names]
        removed = self._removed(choices)
        narrowed = workload.in_channels - removed @ inputs.T
        is_depthwise = (workload.groups == workload.in_channels) & (workload.groups > 1)
        return workload.replace(
            in_channels=narrowed,
            out_channels=workload.out_channels - removed @ outputs.T,
            groups=np.where(is_depthwise, narrowed, workload.groups),
        )

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        """Cut the channels out of every layer, norm and padding that has them.

        Raises:
            ConfigError: if a layer leads no channels that can go, or the criterion needs images and there are none.
        """
        self._check(configuration)
        counts = self._removed(Choices.of([configuration], [family.leader for family in self.channels.families]))[0]
        if not counts.any():
            return model
        removed = least_important(model, self.channels, counts, self.importance, self.calibration)
        for name in self.channels.inputs:
            inputs, outputs = (~np.isin(side[name], removed) for side in (self.channels.inputs, self.channels.outputs))
            if not (inputs.all() and outputs.all()):
                _cut(model.get_submodule(name), np.flatnonzero(inputs), np.flatnonzero(outputs))
        return model

    def _check(self, configuration: Configuration) -> None:
        for name, choice in configuration.items():
            if choice.pattern == "filter" and name not in self.channels.leaders:
                able = ", ".join(sorted(self.channels.leaders)) or "none"
                raise ConfigError(
                    f"Pattern 'filter' needs a layer that leads channels of its own, but '{name}' does not; these do: {able}."
                )


def _cut(module: nn.Module, inputs: Labels, outputs: Labels) -> None:
    """Keep only the given channels of one module, in place."""
    ins, outs = torch.from_numpy(inputs), torch.from_numpy(outputs)
    if isinstance(module, nn.Conv2d):
        _cut_convolution(module, ins, outs)
    elif isinstance(module, nn.Linear):
        module.weight = _parameter(module.weight[outs][:, ins])
        module.in_features, module.out_features = len(ins), len(outs)
        _cut_vectors(module, {"bias": outs})
    elif isinstance(module, NORMS):
        _cut_vectors(module, dict.fromkeys(("weight", "bias", "running_mean", "running_var"), outs))
        module.num_features = len(outs)
    elif isinstance(module, ChannelPad):
        source = module.source[outs]  # the source of a channel that stays also stays: they are tied
        module.source = torch.where(source < 0, source, torch.searchsorted(ins, source))


def _cut_convolution(module: nn.Conv2d, ins: Tensor, outs: Tensor) -> None:
    if module.groups == module.in_channels and module.groups > 1:
        module.weight = _parameter(module.weight[outs])
        module.groups = len(ins)
    else:
        per_group, made = (n // module.groups for n in (module.in_channels, module.out_channels))
        places = (ins % per_group).reshape(module.groups, -1)  # tied: every group keeps equally many
        heard = places[outs // made][:, :, None, None].expand(-1, -1, *module.kernel_size)
        module.weight = _parameter(module.weight[outs].gather(1, heard))
    module.in_channels, module.out_channels = len(ins), len(outs)
    _cut_vectors(module, {"bias": outs})


def _cut_vectors(module: nn.Module, kept: Mapping[str, Tensor]) -> None:
    for name, index in kept.items():
        vector = getattr(module, name, None)
        if isinstance(vector, nn.Parameter):
            setattr(module, name, _parameter(vector[index]))
        elif vector is not None:
            setattr(module, name, cast(Tensor, vector)[index].clone())


def _parameter(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().clone())
