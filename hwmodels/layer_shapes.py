"""LayerShapes: the loop bounds of a layer as an engine sees them that computes tiles of its maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwmodels.cost import Floats
from hwmodels.traffic import Operands


@dataclass(frozen=True, eq=False)
class LayerShapes:
    """Sizes of layers, float64, ``... x l`` or smaller.

    The images of a layer with maps of one pixel are its pixels, a row of them. A depthwise layer is one group whose filters go side by
    side, with one input channel each.
    """

    work: Operands

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """Whether the layer has a map of one pixel, as fully connected ones do; its images are its pixels."""
        work = self.work.workload
        return np.asarray((work.in_h * work.in_w == 1) & (work.out_h * work.out_w == 1))

    @cached_property
    def images(self) -> Floats:
        """Maps that are computed one after the other."""
        return np.where(self.flat, 1.0, self.work.workload.batch)

    @cached_property
    def rows(self) -> Floats:
        """Rows of the output map."""
        return np.asarray(self.work.workload.out_h, np.float64)

    @cached_property
    def cols(self) -> Floats:
        """Columns of the output map."""
        work = self.work.workload
        return np.asarray(np.where(self.flat, work.batch, work.out_w), np.float64)

    @cached_property
    def in_rows(self) -> Floats:
        """Rows of the input map that are read."""
        work = self.work.workload
        return np.asarray(np.minimum(work.in_h, work.out_h * work.kernel_h), np.float64)

    @cached_property
    def in_cols(self) -> Floats:
        """Columns of the input map that are read."""
        work = self.work.workload
        return np.asarray(np.where(self.flat, work.batch, np.minimum(work.in_w, work.out_w * work.kernel_w)), np.float64)

    @cached_property
    def stride(self) -> Floats:
        """Step of the kernel."""
        return np.where(self.flat, 1.0, self.work.workload.stride)

    @cached_property
    def halo(self) -> tuple[Floats, Floats]:
        """Rows and columns that neighbouring tiles share; none between the blocks of a block convolution (Li et al., 2018)."""
        work = self.work.workload
        shared = (np.maximum(kernel - self.stride, 0) for kernel in (work.kernel_h, work.kernel_w))
        first, second = (np.where(work.block > 0, 0.0, lines) for lines in shared)
        return first, second

    @cached_property
    def taps(self) -> Floats:
        """Positions of the kernel."""
        return np.asarray(self.work.workload.kernel_h * self.work.workload.kernel_w, np.float64)

    @cached_property
    def depthwise(self) -> NDArray[np.bool_]:
        """Whether each channel has filters of its own."""
        work = self.work.workload
        return np.asarray((work.groups > 1) & (work.groups == work.in_channels))

    @cached_property
    def channels(self) -> Floats:
        """Input channels of a group."""
        return np.asarray(self.work.workload.in_channels // self.work.workload.groups, np.float64)

    @cached_property
    def filters(self) -> Floats:
        """Filters of a group; all of a depthwise layer's, which go side by side."""
        whole = np.asarray(self.work.workload.out_channels, np.float64)
        return np.where(self.depthwise, whole, self.work.n) if self.depthwise.any() else self.work.n

    @cached_property
    def runs(self) -> Floats:
        """Groups that are computed one after the other, times repeats."""
        repeats = np.asarray(self.work.workload.repeats, np.float64)
        return np.where(self.depthwise, repeats, self.work.runs) if self.depthwise.any() else self.work.runs
