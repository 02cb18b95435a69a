"""Calibration: fit activation steps and re-estimate batch norm, before anything is measured."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from autocomp.compression.quantization import input_quantizers
from autocomp.tracing import measuring


def calibrate(network: nn.Module, images: Tensor, *, batch: int = 128) -> int:
    """Make a freshly compressed network measurable, without labels.

    Raw accuracy right after pruning predicts nothing; after batch-norm re-estimation it does. Activation steps are fitted
    layer by layer as the first batch goes through, each on what the already quantized layers before it give, and batch norm
    works with the batch's own statistics meanwhile: what that batch adds to the estimate is what it would add a second time.

    Args:
        network: changed in place.
        images: normalised images, ``n x c x h x w``.
        batch: images per pass, at most.

    Returns:
        How many images went through the network.
    """
    unfitted = [quantizer for quantizer in input_quantizers(network) if not quantizer.is_on]
    for quantizer in unfitted:
        quantizer.observe = True
    passed = reestimate_batch_norm(network, images, batch=batch)
    if passed or not unfitted:
        return passed
    with measuring(network):
        network(images[:batch])
    return len(images[:batch])


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
    with measuring(network), parametrize.cached():  # weights are quantized once
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for a cumulative average
            norm.training = True
        for part in torch.tensor_split(images, -(-len(images) // batch)):
            network(part)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return len(images)
