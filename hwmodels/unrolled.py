"""UnrolledEngine: an FPGA accelerator that is a loop nest with some loops unrolled in hardware."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwmodels.batching import in_chunks
from hwmodels.chip import Computed, FpgaChip
from hwmodels.cost import CostReport, Floats
from hwmodels.errors import DeviceError
from hwmodels.layer_shapes import LayerShapes
from hwmodels.parameters import Count
from hwmodels.technology import ACCUMULATOR_BITS
from hwmodels.tile_costs import Lanes, Number
from hwmodels.traffic import Operands
from hwmodels.workload import Workload

_WINOGRAD_KERNEL = 3  # F(m, 3): all published FPGA engines use it


@dataclass(frozen=True, kw_only=True)
class UnrolledEngine(FpgaChip):
    """One engine that computes ``filters x channels`` products for ``pixel_rows x pixel_cols`` output pixels each cycle.

    The cycles of a layer (Zhang et al., FPGA 2015, equation 4; Ma et al., FPGA 2017, with pixels and kernel positions unrolled, too)::

        ceil(N / Tm) ceil(C / Tn) ceil(H / Pr) ceil(W / Pc) ceil(kh / Kr) ceil(kw / Kc) * interval * groups * batch

    On maps of one pixel (fully connected layers) the pixel lanes take images, or other filters where that is faster. A depthwise layer
    keeps one channel lane of each filter lane busy. Narrow operands multiply the filters, those of four products also the pixels.

    Winograd's algorithm F(m, 3) (Lu et al., FCCM 2017; Aydonat et al., FPGA 2017) computes ``m`` pixels of a row from ``m + 2`` products,
    three kernel positions at a time; along rows, columns or both. It serves layers of stride 1 with a kernel; on the others, the
    ``m + 2`` multipliers are pixel lanes. Weights lie in DRAM transformed, so they are ``(m + 2) / 3`` as many in each direction.

    Attributes:
        filters, channels: Tm and Tn.
        pixel_rows, pixel_cols: output pixels at once; with Winograd, the tiles of ``m`` pixels at once.
        kernel_rows, kernel_cols: kernel positions at once.
        winograd_rows, winograd_cols: ``m`` in each direction, 1 for none.
        winograd_splits: whether kernels of other sizes than three are split into such of three.
        interval: cycles between two starts of the pipeline; so many products share a multiplier.
        folds_stride: whether a strided layer may be computed as one of stride 1 on ``stride**2`` as many channels (then without Winograd).
        flattens_kernel: whether the channel lanes run on over the kernel positions, as a matrix product does.
    """

    filters: Count
    channels: Count
    pixel_rows: Count = 1
    pixel_cols: Count = 1
    kernel_rows: Count = 1
    kernel_cols: Count = 1
    winograd_rows: Count = 1
    winograd_cols: Count = 1
    winograd_splits: bool = True
    interval: Count = 1
    folds_stride: bool = False
    flattens_kernel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        winograd = np.maximum(self.winograd_rows, self.winograd_cols) > 1
        if np.any(winograd & (np.maximum(self.kernel_rows, self.kernel_cols) > 1)):
            raise DeviceError("`winograd_rows` and `winograd_cols` take the kernel positions; `kernel_rows` and `kernel_cols` must be 1.")

    @in_chunks
    def estimate(self, workload: Workload) -> CostReport:
        """Latency, energy and resources of each candidate."""
        work = Operands(workload, self.max_bits)
        engine = _Engine(self, work)
        return self.priced(
            work, self.with_vector_unit(work, engine.computed()), engine.lanes, units=engine.multipliers, growth=engine.weight_growth
        )


class _Engine:
    """An engine at work on a workload."""

    def __init__(self, device: UnrolledEngine, work: Operands) -> None:
        self.device, self.work, self.shapes = device, work, LayerShapes(work)
        self.macs, self.passes = device.packing(work)
        self.tile = (device.winograd_rows, device.winograd_cols)
        # m + 2 multipliers for m pixels, 1 for 1
        self.products = tuple(np.where(np.asarray(m) > 1, np.asarray(m) + _WINOGRAD_KERNEL - 1, 1) for m in self.tile)
        self.has_winograd = bool(np.any(np.asarray(self.tile[0]) > 1) or np.any(np.asarray(self.tile[1]) > 1))
        pixels = device.pixel_rows * self.products[0] * device.pixel_cols * self.products[1]
        steps = device.filters * device.channels * device.kernel_rows * device.kernel_cols * pixels
        self.multipliers = np.ceil(steps / np.asarray(device.interval))
        self.pixel_lanes = pixels

    @property
    def lanes(self) -> Lanes:
        """What the buffers feed."""
        device = self.device
        rows, cols = device.pixel_rows * self.tile[0], device.pixel_cols * self.tile[1]
        return Lanes(device.filters, device.channels, rows, cols)

    def computed(self) -> Computed:
        """Cycles, traffic of the buffers and multiplications."""
        work, device = self.work, self.device
        cycles, saved = self.plain_cycles, np.ones(())
        if self.has_winograd:
            cycles = np.where(self.is_winograd, self._winograd()[1], cycles)
            saved = np.where(self.is_winograd, self._saved(), 1.0)
        cycles = cycles * (self.passes * device.interval) * self.shapes.runs * work.used
        peak = self.multipliers * self.macs / self.passes / self._least_saved()
        return Computed(
            cycles=np.asarray(cycles), peak=peak, buffer_bits=self._buffer_bits(), multiplications=np.asarray(work.macs * saved)
        )

    @cached_property
    def plain_cycles(self) -> Floats:
        """Without Winograd, one group."""
        device, shapes, layer = self.device, self.shapes, self.work.workload
        pair = np.minimum(self.macs, 2)
        lanes, wide = device.filters * pair, self.macs / pair
        kernel = np.ceil(layer.kernel_h / device.kernel_rows) * np.ceil(layer.kernel_w / device.kernel_cols)
        channel_steps, filter_steps = self._channel_steps(kernel), np.ceil(shapes.filters / lanes)
        rows, cols = device.pixel_rows * self.products[0], device.pixel_cols * self.products[1]
        map_steps = filter_steps * (np.ceil(shapes.rows / rows) * shapes.images) * np.ceil(shapes.cols / (cols * wide))
        if shapes.flat.any():
            images = filter_steps * np.ceil(shapes.cols / (self.pixel_lanes * wide))
            spread = np.ceil(shapes.filters / (lanes * self.pixel_lanes)) * np.ceil(shapes.cols / wide)
            map_steps = np.where(shapes.flat, np.minimum(images, spread), map_steps)
        return np.asarray(map_steps * channel_steps)

    def _channel_steps(self, kernel: Floats) -> Floats:
        """Steps over the reduction: channel tiles times kernel positions, those of the folded kernel where that is less."""
        device, shapes, layer = self.device, self.shapes, self.work.workload
        if device.flattens_kernel:
            return np.asarray(np.ceil(shapes.channels * kernel / device.channels))
        steps = np.ceil(shapes.channels / device.channels) * kernel
        if not device.folds_stride:
            return np.asarray(steps)
        folded = np.ceil(shapes.channels * shapes.stride**2 / device.channels)
        folded_kernel = np.ceil(np.ceil(layer.kernel_h / shapes.stride) / device.kernel_rows)
        folded_kernel = folded_kernel * np.ceil(np.ceil(layer.kernel_w / shapes.stride) / device.kernel_cols)
        return np.asarray(np.minimum(steps, folded * folded_kernel))

    def _winograd(self) -> tuple[NDArray[np.bool_], Floats]:
        """Which layers Winograd's algorithm can serve, and the cycles of one group."""
        device, shapes, layer = self.device, self.shapes, self.work.workload
        kernels = layer.kernel_h, layer.kernel_w
        widest = np.maximum(*kernels)
        serves = (shapes.stride == 1) & ((widest > 1) if device.winograd_splits else (widest == _WINOGRAD_KERNEL))
        pair = np.minimum(self.macs, 2)
        steps = np.ceil(shapes.filters / (device.filters * pair)) * np.ceil(shapes.channels / device.channels) * shapes.images
        sides = (device.pixel_rows, device.pixel_cols * (self.macs / pair))
        for size, kernel, m, side in zip((shapes.rows, shapes.cols), kernels, self.tile, sides, strict=True):
            taps = np.where(np.asarray(m) > 1, np.ceil(kernel / _WINOGRAD_KERNEL), kernel)
            steps = steps * (taps * np.ceil(size / (m * side)))
        return np.asarray(serves), np.asarray(steps)

    @cached_property
    def is_winograd(self) -> NDArray[np.bool_]:
        """Which layers are computed with Winograd's algorithm, ``... x l``."""
        if not self.has_winograd:
            return np.zeros((), bool)
        serves, steps = self._winograd()
        return np.asarray(serves & (steps < self.plain_cycles))

    @property
    def weight_growth(self) -> Number:
        """Words of a transformed filter over its own."""
        if not self.has_winograd:
            return 1.0
        layer, growth = self.work.workload, np.ones(())
        for kernel, m in zip((layer.kernel_h, layer.kernel_w), self.tile, strict=True):
            words = np.ceil(kernel / _WINOGRAD_KERNEL) * (np.asarray(m) + _WINOGRAD_KERNEL - 1)
            growth = growth * np.where(np.asarray(m) > 1, words / kernel, 1.0)
        return np.where(self.is_winograd, growth, 1.0)

    def _saved(self) -> Floats:
        """Multiplications of Winograd's algorithm over those of the layer."""
        layer, share = self.work.workload, np.ones(())
        for kernel, m in zip((layer.kernel_h, layer.kernel_w), self.tile, strict=True):
            products = np.ceil(kernel / _WINOGRAD_KERNEL) * (np.asarray(m) + _WINOGRAD_KERNEL - 1)
            share = share * np.where(np.asarray(m) > 1, products / (np.asarray(m) * kernel), 1.0)
        return share

    def _least_saved(self) -> Floats:
        """The same for a kernel of three, the best case."""
        share = np.ones(())
        for m, products in zip(self.tile, self.products, strict=True):
            share = share * np.where(np.asarray(m) > 1, products / (np.asarray(m) * _WINOGRAD_KERNEL), 1.0)
        return share

    def _buffer_bits(self) -> Floats:
        """An input is read once for all filter lanes, a weight once for all pixel lanes, a sum is kept over the channel lanes."""
        device, work, shapes = self.device, self.work, self.shapes
        summed = np.minimum(shapes.channels, device.channels) * (device.kernel_rows * device.kernel_cols)
        inputs = work.activation_bits / np.maximum(np.minimum(shapes.filters, device.filters), 1)
        weights = work.stored_weight_bits / self.pixel_lanes
        return np.asarray(work.macs * (inputs + weights + 2 * ACCUMULATOR_BITS / np.maximum(summed, 1)))
