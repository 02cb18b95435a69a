"""Calibration: fit activation steps and re-estimate batch norm, before anything is measured."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from autocomp.compression.quantization import input_quantizers
from autocomp.tracing import measuring


def calibrate(network: nn.Module, images: Tensor, *, batch: int = 128) -> int:
    """Make a freshly compressed network measurable, without labels.

    Raw accuracy right after pruning predicts nothing; after batch-norm re-estimation it does. Activation steps are fitted
    layer by layer on one batch, each on what the already quantized layers before it give; batch norm comes before (on that
    batch alone, so that the steps see sensible values) and after (so that it corrects what rounding shifts).

    Args:
        network: changed in place.
        images: normalised images, ``n x c x h x w``.
        batch: images per pass.

    Returns:
        How many images went through the network.
    """
    passed = 0
    quantizers = [quantizer for quantizer in input_quantizers(network) if not quantizer.is_on]
    if quantizers:
        passed += reestimate_batch_norm(network, images[:batch], batch=batch) + len(images[:batch])
        for quantizer in quantizers:
            quantizer.observe = True
        with measuring(network):
            network(images[:batch])
    return passed + reestimate_batch_norm(network, images, batch=batch)


def reestimate_batch_norm(network: nn.Module, images: Tensor, *, batch: int = 128) -> int:
    """Replace running means and variances by the plain average over batches of equal size (up to one image).

    Args:
        network: changed in place; parameters stay as they are.
        images: normalised images, ``n x c x h x w``.
        batch: at most so many images per pass.

    Returns:
        How many images went through the network; none if it has no batch norm.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    with measuring(network):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a cumulative average
            norm.training = True
        for part in torch.tensor_split(images, -(-len(images) // batch)):
            network(part)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(images)
