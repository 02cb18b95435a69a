"""Non-idealities: what a device with analogue cells makes of a network's weights (`hwmodels.nonidealities`).

A weight of b bits is an integer code times a step. Its code is cut into cells of a few bits: as magnitude in one of two cells per
slice where cells are differential, else shifted by ``2**(b-1)`` into cells that hold no sign (Shafiee et al., ISAAC, ISCA 2016).
Every cell is programmed with an error of its own, some are stuck, all drift and see a lower voltage far from their drivers; what is
read back is put together with the slices' powers of two. What rounding did before is the quantizer's business and stays as it is.

Approximations: the conductance of an empty cell is taken off without error, by a reference that drifts and drops alike; the drop
along the wires follows a cell's place among the rows that are read at once; a weight in floating point is stored in
`WORD_BITS`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from autocomp.compression.layers import Layer
from autocomp.compression.remapping import placement
from autocomp.tracing import LAYERS

WORD_BITS = 16
"""Bits of a number that is not quantized."""


@dataclass(frozen=True, kw_only=True)
class Nonidealities:
    """The disturbances of one device; see `hwmodels.nonidealities.disturbances`. The defaults disturb nothing.

    Attributes:
        programming_sigma: standard deviation of a conductance over the largest one.
        sigma_offset, sigma_linear, sigma_curvature: of ``offset + linear g - curvature g**2``, which takes its place where not all 0.
        stuck_off, stuck_on: fractions of the cells.
        on_off_ratio: largest over smallest conductance.
        drift_factor: conductance now over conductance as programmed.
        ir_drop_worst: share of the voltage that the farthest cell misses; the average cell misses two thirds of it.
        cell_bits: in one cell.
        differential: whether a pair of cells holds a signed value.
        dac_bits: of an input slice.
        adc_bits, lossless_adc_bits: resolution of the converters, and the one at which no sum is rounded.
        adc_range, adc_step: where a sum is clipped and to what it is rounded, in units of one cell level times one input level.
        active_rows: rows that are read at once.
    """

    programming_sigma: float = 0.0
    sigma_offset: float = 0.0
    sigma_linear: float = 0.0
    sigma_curvature: float = 0.0
    stuck_off: float = 0.0
    stuck_on: float = 0.0
    on_off_ratio: float = float("inf")
    drift_factor: float = 1.0
    ir_drop_worst: float = 0.0
    cell_bits: int = 1
    differential: bool = False
    dac_bits: int = 1
    adc_bits: float = float("inf")
    lossless_adc_bits: float = 0.0
    adc_range: float = float("inf")
    adc_step: float = 1.0
    active_rows: int = 128

    @classmethod
    def of(cls, found: Mapping[str, Any] | None) -> Nonidealities | None:
        """From what `HardwareModel.nonidealities` says of one device, unknown keys aside; None where nothing is disturbed."""
        kinds: dict[str, Any] = {f.name: type(f.default) for f in fields(cls)}
        values = {name: kinds[name](np.ravel(value)[0]) for name, value in (found or {}).items() if name in kinds}
        made = cls(**values)
        return made if made.disturbs_weights or made.disturbs_sums else None

    def magnitude_bits(self, bits: int) -> int:
        """Bits that cells hold of a code: a pair of cells needs none for the sign."""
        return max(bits - 1, 1) if self.differential else bits

    def holding(self, bits: int) -> Nonidealities:
        """The same device for codes of some bits: what is narrower than a cell still spans its whole range, on fewer levels."""
        needed = self.magnitude_bits(bits)
        if needed >= self.cell_bits:
            return self
        levels = (2**self.cell_bits - 1) / (2**needed - 1)  # of the cell for one of the code
        return replace(self, cell_bits=needed, adc_range=self.adc_range / levels, adc_step=self.adc_step / levels)

    @property
    def disturbs_weights(self) -> bool:
        """Whether what is read back differs from what was written."""
        return any(self._sigma) or self.stuck_off + self.stuck_on > 0 or self.drift_factor != 1 or self.ir_drop_worst > 0

    @property
    def disturbs_sums(self) -> bool:
        """Whether converters round or clip sums that the cells give."""
        return self.adc_bits < self.lossless_adc_bits

    @property
    def _sigma(self) -> tuple[float, float, float]:
        coefficients = (self.sigma_offset, self.sigma_linear, self.sigma_curvature)
        return coefficients if any(coefficients) else (self.programming_sigma, 0.0, 0.0)

    def read(self, levels: Tensor, generator: torch.Generator | None, harm: Tensor | None = None) -> Tensor:
        """The levels of cells as they are read back.

        Args:
            levels: 0 to ``2**cell_bits - 1``; the last axis are the rows of the crossbar (``k``).
            generator: draws what happens to each cell.
            harm: of one level's error, squared; with it rows are placed where stuck cells do the least harm (`remapping`).
        """
        noise = torch.randn(levels.shape, generator=generator)
        fate = torch.rand(levels.shape, generator=generator)  # drawn in any case, so that one disturbance leaves the others as they are
        stuck_off, stuck_on = fate < self.stuck_off, fate >= 1 - self.stuck_on
        if harm is None or not self.stuck_off + self.stuck_on:
            return self._currents(levels, noise, stuck_off, stuck_on)
        top = 2**self.cell_bits - 1
        placed = placement(levels, harm, stuck_off, stuck_on, top=top, together=self.active_rows)
        return self._currents(levels[..., placed], noise, stuck_off, stuck_on)[..., placed.argsort()]

    def _currents(self, levels: Tensor, noise: Tensor, stuck_off: Tensor, stuck_on: Tensor) -> Tensor:
        """What cells give, less what an empty one gives, in levels."""
        top, off = 2**self.cell_bits - 1, 1 / self.on_off_ratio
        conductance = off + (1 - off) * levels / top
        offset, linear, curvature = self._sigma
        sigma = (offset + linear * conductance - curvature * conductance**2).clamp_(min=0)
        conductance = (conductance + sigma * noise).clamp_(min=0)
        conductance[stuck_off] = off
        conductance[stuck_on] = 1.0
        read: Tensor = (conductance - off) * (top / max(1 - off, 1e-6)) * self.gain(levels.shape[-1])
        return read

    def gain(self, rows: int) -> Tensor:
        """What drift and wires leave of the current of each row's cells (``k``).

        The voltage falls by ``worst (2 u - u**2)`` up to place ``u`` in [0, 1] among the rows that are read at once.
        """
        place = (torch.arange(rows) % self.active_rows + 0.5) / self.active_rows
        kept: Tensor = self.drift_factor * (1 - self.ir_drop_worst * (2 * place - place**2))
        return kept


@dataclass(frozen=True)
class Coded:
    """The weights of one layer as a crossbar stores them.

    Attributes:
        code: integers, ``n x k`` (filters, rows).
        step: value of one, ``n x 1``.
        rest: what the codes leave over, ``n x k``; 0 on a uniform grid.
        bits: of a code.
        used: rows that are in the crossbar (``k``): a row that is zero in every filter is left out.
    """

    code: Tensor
    step: Tensor
    rest: Tensor
    bits: int
    used: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor, bits: int, step: Tensor | None = None, *, groups: int = 1) -> Coded:
        """Code a weight ``n x ...``; without a step (one, or one per filter) the largest magnitude of a filter is the largest code."""
        bits = max(min(bits, WORD_BITS), 2)
        high = 2 ** (bits - 1) - 1
        values = weight.detach().flatten(1)
        largest = values.abs().amax(1, keepdim=True) / high
        steps = (largest if step is None else step.detach().reshape(-1, 1).expand_as(largest)).clamp(min=1e-20)
        code = (values / steps).round_().clamp_(-high, high)
        used = (values != 0).any(0) if groups == 1 else torch.ones(values.shape[1], dtype=torch.bool)
        return cls(code, steps, values - code * steps, bits, used)

    def planes(self, device: Nonidealities, generator: torch.Generator | None, *, remap: bool = False) -> Tensor:
        """The slices of the codes as one device holds them, lowest first, ``s x n x k``; still shifted where cells hold no sign.

        Args:
            device: what it does to them.
            generator: draws one device.
            remap: whether rows are placed with regard to stuck cells.
        """
        count = -(-device.magnitude_bits(self.bits) // device.cell_bits)
        signs = (self.code, -self.code) if device.differential else (self.code + self.shift(device),)
        integers = torch.stack([part.clamp(min=0) for part in signs]).to(torch.int32)
        places = torch.arange(count, dtype=torch.int32).view(-1, 1, 1, 1) * device.cell_bits
        levels = (integers >> places) & (2**device.cell_bits - 1)
        harm = (self.step.square() * self.used) * 4.0**places if remap else None
        found = device.read(levels.float(), generator, harm) * self.used
        return found[:, 0] - found[:, 1] if device.differential else found[:, 0]

    def shift(self, device: Nonidealities) -> int:
        """What is added to a code so that it is not negative."""
        return 0 if device.differential else int(2 ** (self.bits - 1))

    def beside(self, device: Nonidealities) -> Tensor:
        """What is added to the slices' value: the rest, less the shift as a column of ones in the same crossbar gives it, ``n x k``."""
        return self.rest - self.step * (self.shift(device) * self.used * device.gain(len(self.used)))

    def weights(self, planes: Tensor, device: Nonidealities) -> Tensor:
        """The weights that `planes` stand for, ``n x k``."""
        powers = 2.0 ** (torch.arange(len(planes)) * device.cell_bits)
        return self.step * torch.einsum("s,snk->nk", powers, planes) + self.beside(device)


def coded(layer: Layer) -> Coded:
    """A layer's weights in the bits, and on the step, of its quantizer."""
    bits, step = WORD_BITS, None
    parts = layer.parametrizations["weight"] if parametrize.is_parametrized(layer, "weight") else ()  # type: ignore[index]
    for part in parts:
        bits = getattr(part, "weight_bits", bits)
        step = part.log_step.exp() if hasattr(part, "log_step") else step
    return Coded.of(layer.weight, bits, step, groups=getattr(layer, "groups", 1))


def draw_of(layer: str, *, draw: int, seed: int) -> torch.Generator:
    """Random numbers of one layer on one device; they depend on nothing else, so that every network meets the same devices."""
    return torch.Generator().manual_seed(zlib.crc32(f"{seed}/{draw}/{layer}".encode()))


class Disturbed(nn.Module):
    """A weight parametrization that disturbs weights anew in every training step, and leaves them alone otherwise.

    A network trained so learns weights that bear the disturbance (Chen 2017a, section III); gradients pass straight through.
    """

    def __init__(self, layer: Layer, device: Nonidealities) -> None:
        super().__init__()
        found = coded(layer)
        self.bits, self.device, self.groups = found.bits, device, getattr(layer, "groups", 1)
        parts = layer.parametrizations["weight"] if parametrize.is_parametrized(layer, "weight") else ()  # type: ignore[index]
        self._grids = [part for part in parts if hasattr(part, "log_step")]  # a list, so that they stay where they are registered

    def forward(self, weight: Tensor) -> Tensor:
        """The weight, as one device would hold it while training."""
        if not self.training:
            return weight
        step = self._grids[-1].log_step.exp() if self._grids else None
        code = Coded.of(weight, self.bits, step, groups=self.groups)
        with torch.no_grad():
            device = self.device.holding(self.bits)
            held = code.weights(code.planes(device, None), device).reshape(weight.shape)
        return weight + (held - weight).detach()


def train_disturbed(network: nn.Module, device: Nonidealities) -> None:
    """Disturb the weights of every layer in each training step from now on; in evaluation mode nothing changes."""
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            parametrize.register_parametrization(layer, "weight", Disturbed(layer, device).train(layer.training))
