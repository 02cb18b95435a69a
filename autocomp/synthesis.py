"""Synthesis: images that give a network the batch-norm statistics it was trained with, made without any data.

ZeroQ (Cai 2020, equation 3) matches means and standard deviations; DeepInversion (Yin 2020, equations 1 to 4) adds a wanted class and
the smoothness of natural images. Both start from Gaussian noise and change the images by gradient descent (Adam).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.errors import ConfigError
from autocomp.tracing import Shape

_BATCH = 128
_CLASS_WEIGHT = 0.1
_SMOOTHNESS = 1e-3
_RATE = 0.1


def statistics_loss(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """``||mean(x) - running mean||^2 + ||std(x) - running std||^2``, each a mean over channels.

    Args:
        norm: whose statistics are wanted.
        x: what enters it, ``b x c x h x w``.
    """
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    wanted_mean, wanted_variance = norm.running_mean, norm.running_var
    assert wanted_mean is not None
    assert wanted_variance is not None
    deviation = (variance + norm.eps).sqrt() - (wanted_variance + norm.eps).sqrt()
    return F.mse_loss(mean, wanted_mean) + deviation.square().mean()


def synthesize(network: nn.Module, input_shape: Shape, *, count: int, classes: int, steps: int, seed: int = 0) -> Tensor:
    """Images, ``count x c x h x w``, normalised as the network takes them, each for one of the classes in turn.

    Args:
        network: the teacher; stays as it is.
        input_shape: of one image.
        count: images.
        classes: of the teacher.
        steps: of gradient descent.
        seed: of the noise.

    Raises:
        ConfigError: if the network has no batch norm with running statistics.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    if not norms:
        raise ConfigError(
            f"Synthetic images need a teacher with batch norm, but {type(network).__name__} has none; use finetune=unlabelled."
        )
    generator = torch.Generator().manual_seed(seed)
    made = []
    with torch.enable_grad(), _still(network):
        for start in range(0, count, _BATCH):
            labels = torch.arange(start, min(start + _BATCH, count)) % classes
            noise = torch.randn(len(labels), *input_shape, generator=generator)
            made.append(_descend(network, norms, noise, labels, steps))
    return torch.cat(made)


def _descend(network: nn.Module, norms: list[nn.BatchNorm2d], noise: Tensor, labels: Tensor, steps: int) -> Tensor:
    images = noise.requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        logits, fit = _answers(network, norms, images)
        smooth = images.diff(dim=2).square().mean() + images.diff(dim=3).square().mean()
        loss = fit + _CLASS_WEIGHT * F.cross_entropy(logits, labels) + _SMOOTHNESS * smooth
        (images.grad,) = torch.autograd.grad(loss, images)
        optimizer.step()
        schedule.step()
    return images.detach()


def _answers(network: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> tuple[Tensor, Tensor]:
    """The logits, and the sum of every norm's `statistics_loss`."""
    losses: list[Tensor] = []

    def compare(norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        losses.append(statistics_loss(norm, inputs[0]))

    with ExitStack() as stack:
        for norm in norms:
            stack.callback(norm.register_forward_pre_hook(compare).remove)
        logits = network(images)
    return logits, torch.stack(losses).sum()


@contextmanager
def _still(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for every part, and its own mode afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
