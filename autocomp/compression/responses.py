"""Data-driven reconstruction: a chain is fitted to what the layer that it replaces answered, not to its weights (Zhang 2015).

Layers are fitted from the input on, each on what the already compressed layers before it give and towards what the layer gave in
the original network (its "asymmetric reconstruction"), so that errors do not add up. Answers are compared before the nonlinearity
(its "low-rank approximation of responses").
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autocomp.compression.layers import Layer
from autocomp.tracing import measuring

_BATCH = 64
_RIDGE = 1e-6
"""Weight of staying at the factors of the weights, as a share of the mean square of what is seen; decides where images do not."""


def fit_to_responses(model: nn.Module, chains: Mapping[str, nn.Sequential], images: Tensor) -> None:
    """Fit the chains that are to replace some layers, in place.

    A chain that ends in a 1 x 1 layer behind the whole kernel (``svd_out``, ``svd``) gets the best map of its rank from the
    kernel's answers to the original ones; of any other chain the last part is fitted by least squares.

    Args:
        model: the network before they are put in; is left as it was. The images go through it twice per chain.
        chains: by the name of the layer.
        images: normalised, ``n x c x h x w``.
    """
    student = copy.deepcopy(model)
    for name in _in_order(model, chains, images[:1]):
        layer, chain, sums = model.get_submodule(name), chains[name], _Sums()
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        with measuring(model), measuring(student):
            for batch in torch.tensor_split(images, -(-len(images) // _BATCH)):
                for (_, wanted), (given, _) in zip(_calls(model, name, batch), _calls(student, name, batch), strict=True):
                    sums.add(_features(layer, chain, given), wanted)
        _fit(layer, chain, sums)
        student.set_submodule(name, copy.deepcopy(chain))


def _in_order(model: nn.Module, names: Mapping[str, nn.Module], images: Tensor) -> list[str]:
    """The names in the order in which the modules run; without those that do not."""
    met: dict[str, None] = {}
    hooks = [model.get_submodule(name).register_forward_hook(lambda *_, name=name: met.setdefault(name)) for name in names]
    try:
        with measuring(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return list(met)


def _calls(model: nn.Module, name: str, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """What goes into a module and what comes out, for each time that it runs."""
    seen: list[tuple[Tensor, Tensor]] = []
    with _watched(model.get_submodule(name), seen):
        model(images)
    return seen


@contextmanager
def _watched(module: nn.Module, seen: list[tuple[Tensor, Tensor]]) -> Iterator[None]:
    hook = module.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    try:
        yield
    finally:
        hook.remove()


class _Sums:
    """Moments of features (``f``) and answers (``n``) over all pixels of all images."""

    def __init__(self) -> None:
        self.count = 0
        self.feature: Tensor = torch.zeros(())
        self.answer: Tensor = torch.zeros(())
        self.gram: Tensor = torch.zeros(())
        self.cross: Tensor = torch.zeros(())

    def add(self, features: Tensor, answers: Tensor) -> None:
        """More of them; channels are the second axis of maps and the last of vectors."""
        x, y = (_rows(values).double() for values in (features, answers))
        self.count += len(x)
        self.feature = self.feature.to(x) + x.sum(0)
        self.answer = self.answer.to(y) + y.sum(0)
        self.gram = self.gram.to(x) + x.T @ x
        self.cross = self.cross.to(x) + y.T @ x

    def centre(self) -> None:
        """Take the means out of the second moments; a bias will bring them back."""
        self.gram = self.gram - torch.outer(self.feature, self.feature) / self.count
        self.cross = self.cross - torch.outer(self.answer, self.feature) / self.count

    def solve(self, start: Tensor) -> Tensor:
        """The map ``n x f`` from features to answers with the least squared error, and near to ``start`` where they say nothing."""
        weight = _RIDGE * self.gram.diagonal().mean().clamp(min=torch.finfo(torch.double).tiny)
        system = self.gram + weight * torch.eye(len(self.gram)).to(self.gram)
        solved: Tensor = torch.linalg.solve(system, (self.cross + weight * start.to(self.gram)).T)
        return solved.T


def _rows(values: Tensor) -> Tensor:
    rows: Tensor = values.movedim(1, -1).flatten(0, -2) if values.ndim == 4 else values.flatten(0, -2)
    return rows


def _ends(chain: nn.Sequential) -> tuple[Layer, Layer]:
    first, last = chain[0], chain[-1]
    assert isinstance(first, nn.Conv2d | nn.Linear)
    assert isinstance(last, nn.Conv2d | nn.Linear)
    return first, last


def _maps_answers(chain: nn.Sequential) -> bool:
    """Whether the chain is the whole kernel and a 1 x 1 map of what it answers."""
    return len(chain) == 2 and _ends(chain)[1].weight[0, 0].numel() == 1


def _features(layer: Layer, chain: nn.Sequential, given: Tensor) -> Tensor:
    """What is mapped linearly to the answers: those of the layer itself, or the values that the last part weighs."""
    if _maps_answers(chain):
        return _run(layer, given, layer.weight)
    last = _ends(chain)[1]
    values: Tensor = chain[:-1](given)
    every = torch.eye(last.weight[0].numel()).to(last.weight).reshape(-1, *last.weight.shape[1:])
    return _run(last, values, every)  # a filter for each weight, so that the layer itself cuts out, steps and pads


def _run(layer: Layer, values: Tensor, weight: Tensor) -> Tensor:
    """The layer with another weight and without its bias."""
    if isinstance(layer, nn.Linear):
        return F.linear(values, weight)
    answers: Tensor = layer._conv_forward(values, weight, None)
    return answers


@torch.no_grad()
def _fit(layer: Layer, chain: nn.Sequential, sums: _Sums) -> None:
    first, last = _ends(chain)
    if last.bias is not None:
        sums.centre()
    if _maps_answers(chain):
        found = sums.solve(torch.eye(len(sums.answer)))
        basis = _leading_answers(found, sums.gram, last.weight.shape[1])
        inner = basis.T @ found
        first.weight.copy_((inner @ layer.weight.flatten(1).double()).reshape(first.weight.shape))
        last.weight.copy_(basis.reshape(last.weight.shape))
        found = basis @ inner
    else:
        found = sums.solve(last.weight.flatten(1))
        last.weight.copy_(found.reshape(last.weight.shape))
    if last.bias is not None:
        last.bias.copy_((sums.answer - found @ sums.feature) / sums.count)


def _leading_answers(found: Tensor, gram: Tensor, rank: int) -> Tensor:
    """Orthonormal directions in which a map's answers vary most (``n x r``): where a lower rank loses least."""
    vectors: Tensor = torch.linalg.eigh(found @ gram @ found.T).eigenvectors
    return vectors.flip(1)[:, :rank]
