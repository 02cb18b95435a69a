"""Filter pruning as measured: how much of a saving in multiply-accumulates ONNX Runtime turns into time."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autocomp.channels import channel_map, normalize
from autocomp.choice import Choice, Configuration
from autocomp.compression import compress, default_methods
from autocomp.export import bake, trace_program
from autocomp.export.integer import write_integer
from autocomp.export.reading import read_program
from autocomp.export.running import open_onnx
from autocomp.measure import count_macs, timed
from benchmarks.record import record

SHAPE = (3, 96, 96)
WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)  # VGG-16 with batch norm; 0 halves the image
BLOCK = 16
"""Channels that the engine's kernels take together; what is kept is a multiple."""

SECONDS = 15.0


def vgg16() -> nn.Module:
    """The network, with random weights: time does not depend on them."""
    layers: list[nn.Module] = []
    channels = SHAPE[0]
    for width in WIDTHS:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)).eval()


def sparsity_of(width: int) -> float:
    """About the share of filters whose loss halves the multiply-accumulates, 1 - sqrt(1/2), in whole blocks."""
    return round((1 - math.sqrt(0.5)) * width / BLOCK) * BLOCK / width


def main() -> None:
    """Prune, export, and time both in turns."""
    torch.manual_seed(0)
    graph = normalize(vgg16(), SHAPE)
    assert graph is not None
    layers = {name: module.out_channels for name, module in graph.named_modules() if isinstance(module, nn.Conv2d)}
    chosen = Configuration({name: Choice(sparsity=sparsity_of(width), pattern="filter") for name, width in layers.items()})
    pruned = compress(graph, chosen, default_methods(channel_map(graph, SHAPE)))
    programs = {name: trace_program(bake(network), SHAPE) for name, network in (("teacher", graph), ("network", pruned))}
    given = np.random.default_rng(0).standard_normal((1, *SHAPE)).astype(np.float32)
    figures: dict[str, Any] = {name: {"macs": count_macs(program)} for name, program in programs.items()}
    with tempfile.TemporaryDirectory() as scratch:
        runs = {}
        for name, program in programs.items():
            path = Path(scratch) / f"{name}.onnx"
            path.write_bytes(write_integer(read_program(program))[0].SerializeToString())
            session = open_onnx(path, threads=1)
            runs[name] = lambda session=session: session.run(None, {session.get_inputs()[0].name: given})
        for name, times in timed(runs, 1, SECONDS).items():
            figures[name] |= times
    figures["mac_ratio"] = figures["teacher"]["macs"] / figures["network"]["macs"]
    figures["speed_up"] = figures["teacher"]["median_ms"] / figures["network"]["median_ms"]
    figures["speed_up_of_mac_ratio"] = figures["speed_up"] / figures["mac_ratio"]
    record("exported_speed", figures)


if __name__ == "__main__":
    main()
