"""Fixed-point factorized networks: a layer as two layers of ternary weights with a scaling diagonal in between (Wang 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autocomp.compression.quantizers.grid import LEAST
from autocomp.compression.quantizers.uniform import UniformWeight

_WITHIN = 0.499
"""Of a step: how far a weight may be from the value that it is to be rounded to."""

_RECOVERY = 5  # rounds of recovering full-precision weights; the first two bring nearly all

_ROUNDS = 20  # of fitting one side of a term after the other; a few are enough (Kolda and O'Leary 1998)


def nearest_ternary(vector: Tensor) -> Tensor:
    """The ``x`` in {-1, 0, 1} with the smallest angle to a vector: it maximises ``(v . x)^2 / |x|^2``, on the largest entries."""
    order = vector.abs().argsort(descending=True, stable=True)
    gains = vector.abs()[order].double().cumsum(0).square() / torch.arange(1, len(vector) + 1, device=vector.device)
    kept = order[: int(gains.argmax()) + 1]
    ternary = torch.zeros_like(vector)
    ternary[kept] = vector[kept].sign()
    return ternary


def semidiscrete(matrix: Tensor, terms: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ternary ``X`` (``m x r``) and ``Y`` (``k x r``) and positive ``d`` with ``X diag(d) Y^T`` near a matrix ``m x k``.

    Term by term, each to what the ones before it leave: with one side given, the other is its `nearest_ternary` vector, in
    turn until nothing changes; ``d = x R y / (|x|^2 |y|^2)`` (Kolda and O'Leary 1998; the start of Wang 2017, section 3.1).
    """
    rest = matrix.clone()
    found = []
    for _ in range(terms):
        y = nearest_ternary(rest[rest.square().sum(1).argmax()])
        x = nearest_ternary(rest @ y)
        for _ in range(_ROUNDS):
            before, y = y, nearest_ternary(x @ rest)
            if torch.equal(y, before):
                break
            x = nearest_ternary(rest @ y)
        scale = (x @ rest @ y) / (x.square().sum() * y.square().sum()).clamp(min=1)
        rest -= scale * torch.outer(x, y)
        found.append((x, scale.clamp(min=LEAST), y))
    x, scales, y = (torch.stack(part, -1) for part in zip(*found, strict=True))
    return x, scales, y


@torch.no_grad()
def ternary_pair(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two factors whose product is nearly that of the given ones, with ternary entries: ``D Y^T``, one scale per filter, and ``X``.

    Args:
        first: ``r x ..``, weights of the layer that runs first.
        second: ``n x r x ..``, weights of the layer after it.
    """
    left = second.movedim(1, 0).flatten(1)
    x, scales, y = semidiscrete(left.T @ first.flatten(1), len(first))
    outer = x.T.reshape(second.movedim(1, 0).shape).movedim(0, 1)
    return (scales[:, None] * y.T).reshape(first.shape), outer.contiguous()


@torch.no_grad()
def full_precision(first: Tensor, second: Tensor, rounded_first: Tensor, rounded_second: Tensor) -> tuple[Tensor, Tensor]:
    """Full-precision weights that round to ternary factors, with a product nearer to the layer that they came from.

    Training begins with them instead of the ternary weights, whose roundings say nothing about which are nearly another value (the
    recovery of full-precision weights, Wang et al., "Fixed-point factorized networks", CVPR 2017, section 3.2): ``min |W - X' D Y'^T|``
    over factors within half a step of ``X`` and ``Y``, by coordinate descent; no step makes the error larger.

    Args:
        first: factor of the layer, ``r x ..``.
        second: the one behind it, ``n x r x ..``.
        rounded_first: what `ternary_pair` makes of the first.
        rounded_second: and of the second.
    """
    target = second.movedim(1, 0).flatten(1).T.double() @ first.flatten(1).double()
    inner, outer = rounded_first.flatten(1).double(), rounded_second.movedim(1, 0).flatten(1).T.double()
    steps = inner.abs().amax(1, keepdim=True)
    inner_bounds = [inner + _WITHIN * sign * steps for sign in (-1, 1)]
    outer_bounds = [outer + _WITHIN * sign for sign in (-1, 1)]
    rest = target - outer @ inner
    for _ in range(_RECOVERY):
        for t in range(len(inner)):
            x, y = outer[:, t].clone(), inner[t].clone()
            rest += torch.outer(x, y)
            x = (rest @ y / y.square().sum().clamp(min=LEAST)).clamp(outer_bounds[0][:, t], outer_bounds[1][:, t])
            y = (x @ rest / x.square().sum().clamp(min=LEAST)).clamp(inner_bounds[0][t], inner_bounds[1][t])
            rest -= torch.outer(x, y)
            outer[:, t], inner[t] = x, y
    recovered = outer.T.reshape(second.movedim(1, 0).shape).movedim(0, 1)
    return inner.reshape(first.shape).to(first), recovered.contiguous().to(second)


def fixed_point_modules(first: Tensor, second: Tensor) -> tuple[UniformWeight, UniformWeight]:
    """The quantizers of a pair from `ternary_pair`: two bits uniformly, the steps of the first learned, those of the second 1."""
    diagonal, unit = UniformWeight(first, 2), UniformWeight(second, 2, per_filter=False)
    unit.log_step.detach().zero_()
    unit.log_step.requires_grad_(False)
    return diagonal, unit


def original(layer: nn.Module) -> Tensor:
    """The parameter behind a layer's weight, before any parametrization."""
    parametrizations = getattr(layer, "parametrizations", None)
    weight = layer.weight if parametrizations is None else parametrizations.weight.original
    assert isinstance(weight, Tensor)
    return weight
