"""Hints and attention: a student that learns from the teacher's inner layers (Romero 2015, Zagoruyko 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.errors import ConfigError
from autocomp.tracing import Shape, measuring, trace


def attention_map(features: Tensor) -> Tensor:
    """Where a layer looks: the sum over channels of squared features ``b x c x h x w``, as unit vectors ``b x (h w)``.

    Zagoruyko and Komodakis, "Paying more attention to attention", ICLR 2017, section 3.1: ``F_sum^2``.
    """
    energy = features.square().sum(1).flatten(1)
    return energy.div(torch.linalg.vector_norm(energy, dim=1, keepdim=True).clamp(min=1e-12))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance of the two attention maps (equation 2 with p = 2, without its beta / 2), as a mean over the batch."""
    distance: Tensor = torch.linalg.vector_norm(attention_map(student) - attention_map(teacher), dim=1)
    return distance.mean()


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """``1/2 ||u_h - r(v_g)||^2`` [Romero et al., "FitNets", ICLR 2015, equation 3], as a mean over the batch and the features."""
    return F.mse_loss(student, teacher) / 2


class InnerGuide:
    """Loss of a student's convolutions against the teacher's at the same depth; see `paired`.

    A layer that was factorized, or whose filters were pruned, still has its name. Where widths differ, a 1 x 1 convolution learns to
    translate the student's features (the regressor of FitNets, section 2.2); where map sizes differ, the larger is averaged.

    Args:
        student, teacher: what learns and what it learns from; the teacher stays as it is.
        input_shape: of one image.
        origin: what the student was made from, with layers of the student's names; the teacher if not given.
        hint_weight, attention_weight: of the two losses, each a mean over layers.
        layers: number of convolutions, evenly spread over the depth; the last is always among them.

    Raises:
        ConfigError: if the teacher or the student has no convolution.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        input_shape: Shape,
        *,
        hint_weight: float,
        attention_weight: float,
        layers: int,
        origin: nn.Module | None = None,
    ) -> None:
        self.student, self.teacher = student, teacher
        self.hint_weight, self.attention_weight = hint_weight, attention_weight
        self.points = paired(teacher if origin is None else origin, teacher, input_shape, layers)
        self._seen: dict[tuple[str, str], Tensor] = {}
        example = torch.zeros(1, *input_shape)
        with self.watching():
            for network in (student, teacher):
                with measuring(network):
                    network(example)
            widths = {our: (self._seen["student", our].shape[1], self._seen["teacher", their].shape[1]) for our, their in self.points}
        self.regressors = {p: nn.Conv2d(ours, theirs, 1) for p, (ours, theirs) in widths.items() if ours != theirs and hint_weight}

    def parameters(self) -> Iterator[nn.Parameter]:
        """The regressors'."""
        for regressor in self.regressors.values():
            yield from regressor.parameters()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the features of both networks' passes; nothing of it is left on the networks afterwards."""
        with ExitStack() as stack:
            for place, (side, network) in enumerate((("student", self.student), ("teacher", self.teacher))):
                for point in (pair[place] for pair in self.points):
                    hook = network.get_submodule(point).register_forward_hook(
                        lambda module, inputs, output, key=(side, point): self._seen.__setitem__(key, output)
                    )
                    stack.callback(hook.remove)
            stack.callback(self._seen.clear)
            yield

    def loss(self, images: Tensor) -> Tensor:
        """The weighted losses of the student's last pass; the teacher runs here."""
        with measuring(self.teacher):
            self.teacher(images)
        total = torch.zeros(())
        for point, counterpart in self.points:
            ours, theirs = _same_size(self._seen["student", point], self._seen["teacher", counterpart])
            if self.attention_weight:
                total = total + self.attention_weight * attention_loss(ours, theirs)
            if self.hint_weight:
                total = total + self.hint_weight * hint_loss(self.regressors.get(point, nn.Identity())(ours), theirs)
        return total / len(self.points)


def paired(student: nn.Module, teacher: nn.Module, input_shape: Shape, count: int) -> list[tuple[str, str]]:
    """At most ``count`` convolutions of a student, each with the teacher's at the same share of the depth, whatever their names are.

    Raises:
        ConfigError: if either has none.
    """
    if student is teacher:
        return [(name, name) for name in spread(teacher, input_shape, count)]
    count = min(len(spread(network, input_shape, count)) for network in (student, teacher))
    return list(zip(spread(student, input_shape, count), spread(teacher, input_shape, count), strict=True))


def spread(network: nn.Module, input_shape: Shape, count: int) -> list[str]:
    """The names of at most ``count`` convolutions, evenly spread over the depth, the last among them.

    Raises:
        ConfigError: if there is none.
    """
    names = [n for n in trace(network, input_shape).names if isinstance(network.get_submodule(n), nn.Conv2d)]
    if not names:
        raise ConfigError(f"Hints and attention need a convolution, but {type(network).__name__} has none.")
    count = min(count, len(names))
    return [names[(i + 1) * len(names) // count - 1] for i in range(count)]


def _same_size(*maps: Tensor) -> list[Tensor]:
    height, width = (min(m.shape[axis] for m in maps) for axis in (2, 3))
    return [F.adaptive_avg_pool2d(m, (height, width)) for m in maps]
