"""Bias correction: biases take up what compression shifts in the mean of a layer's output (Nagel 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.layers import weight_layers
from autocomp.tracing import measuring, trace


@torch.no_grad()
def correct_biases(student: nn.Module, teacher: nn.Module, images: Tensor, *, batch: int = 128) -> int:
    """Make the mean of each output channel what it is in the teacher, layer by layer.

    ``b += E[y] - E[y~]`` on images, each layer after those before it are corrected (Nagel et al., ICCV 2019, section 4.2 and appendix D).
    Layers without a bias, and those whose filters were pruned, stay; a batch norm behind a layer takes the shift up by itself.

    Args:
        student: changed in place.
        teacher: has layers of the same names; stays as it is.
        images: normalised, ``n x c x h x w``.
        batch: images per pass.

    Returns:
        How many images went through a network.
    """
    shape = (int(images.shape[1]), int(images.shape[2]), int(images.shape[3]))
    names = [name for name in trace(teacher, shape).names if _last_bias(student, teacher, name) is not None]
    if not names:
        return 0
    wanted = _means(teacher, names, images, batch)
    for name in names:
        bias = _last_bias(student, teacher, name)
        assert bias is not None
        bias += wanted[name] - _means(student, [name], images, batch)[name]
    return len(images) * (1 + len(names))


def _last_bias(student: nn.Module, teacher: nn.Module, name: str) -> Tensor | None:
    """The bias that is added to a layer's output, where the layer kept all its filters."""
    last, layer = weight_layers(student, name)[-1], weight_layers(teacher, name)[-1]
    return last.bias if last.weight.shape[0] == layer.weight.shape[0] else None


def _means(network: nn.Module, names: list[str], images: Tensor, batch: int) -> dict[str, Tensor]:
    """The mean output of each channel of some layers."""
    sums: dict[str, Tensor] = {}

    def add(name: str, output: Tensor) -> None:
        channels = output.transpose(1, -1) if output.ndim == 4 else output
        rows = channels.flatten(0, -2)
        sums[name] = sums.get(name, torch.zeros(())) + rows.mean(0) * len(output) / len(images)

    hooks = [
        network.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: add(name, output)) for name in names
    ]
    try:
        with measuring(network):
            for part in images.split(batch):  # type: ignore[no-untyped-call]
                network(part)
    finally:
        for hook in hooks:
            hook.remove()
    return sums
