"""How long a crossbar takes for a matrix-vector product, and how layers that hand on rows of pixels overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwmodels.cost import Floats
from hwmodels.parameters import Quantity
from hwmodels.workload import Workload


@dataclass(frozen=True, eq=False)
class Steps:
    """What one matrix-vector product takes, arrays that broadcast to ``... x l``.

    Attributes:
        slices: of the input that are applied one after another.
        drives: times that a row is driven.
        samples: times that a column is sampled.
        reads: analogue reads.
        conversions: of a column.
        mux: columns that one converter serves in turn.
    """

    slices: Floats
    drives: Floats
    samples: Floats
    reads: Floats
    conversions: Floats
    mux: Floats


@dataclass(frozen=True, kw_only=True)
class Clockwork:
    """Times of a crossbar's parts, arrays ``b x 1``.

    Attributes:
        read_s: one analogue read, or the integration of one bit plane.
        conversion_s: one conversion at the resolution of the device.
        setup_s: precharge and control of one product, or of one phase of a pulse train.
    """

    read_s: Quantity
    conversion_s: Quantity | Floats
    setup_s: Quantity

    def overlapped(self, steps: Steps) -> Floats:
        """While one read is sampled the last one is converted: ``reads max(read, mux conversion)``."""
        return np.asarray(steps.reads * np.maximum(self.read_s, steps.mux * self.conversion_s) + self.setup_s)

    def one_by_one(self, steps: Steps) -> Floats:
        """Every column of a converter is read and converted before the next: ``reads mux (read + conversion)``."""
        return np.asarray(steps.reads * steps.mux * (self.read_s + self.conversion_s) + self.setup_s)

    def integrated(self, steps: Steps) -> Floats:
        """Reads add up in the analogue domain before they are converted: ``reads read + conversions (mux conversion + setup)``."""
        return np.asarray(steps.reads * self.read_s + steps.conversions * (steps.mux * self.conversion_s + self.setup_s))


def pipelined_s(workload: Workload, serial_s: Floats) -> Floats:
    """Seconds that each layer adds to one pass where layers start as soon as their first window of inputs is there, ``... x l``.

    A layer begins when the share ``f`` of its input that the first window spans has arrived, ``s = s' + f (e' - s')``, and ends
    when it has worked through its own pixels and through those that the last inputs hold back, ``e = max(s + t, e' + f t)``;
    dashes mark the layer before. Its latency is ``e - e'``, so that latencies add up to the end of the last layer, and the slowest
    layer is the throughput of a stream of images (Shafiee et al., ISAAC, ISCA 2016; Zhu et al., MNSIM 2.0, TCAD 2023).

    Args:
        workload: the layers, in execution order.
        serial_s: seconds of each layer alone, ``... x l``; 0 in unused slots.
    """
    share = np.broadcast_to(_first_window(workload), serial_s.shape)
    begin = end = np.zeros(serial_s.shape[:-1])
    added = np.empty(serial_s.shape)
    for layer in range(serial_s.shape[-1]):
        seconds, part = serial_s[..., layer], share[..., layer]
        works = seconds > 0
        begin = np.where(works, begin + part * (end - begin), begin)
        finish = np.where(works, np.maximum(begin + seconds, end + part * seconds), end)
        added[..., layer] = finish - end
        end = finish
    return added


def _first_window(workload: Workload) -> Floats:
    """Share of the input map of a pass that arrives before the first output can be computed."""
    padding = np.maximum((workload.out_h - 1) * workload.stride + workload.kernel_h - workload.in_h, 0) // 2
    rows = np.clip(workload.kernel_h - padding - 1, 0, None)
    pixels = rows * workload.in_w + np.maximum(workload.kernel_w - padding, 1)
    return np.asarray(np.minimum(pixels / (workload.in_h * workload.in_w), 1) / workload.batch)
