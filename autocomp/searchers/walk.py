"""The walk over the layers as a Markov decision process, and what keeps it within limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from autocomp.choice import DEVICE
from autocomp.problem import Problem
from autocomp.searchers.composition import LEAST, Composition
from autocomp.space import Vectors

STRENGTHS = np.array([0.25, 0.5, 0.75, 1.0])  # at which a state tells the loss of a layer's choices
SHARES = np.linspace(0, 1, 9)  # of the way to a layer's strongest action that a projection tries


class Walk:
    """A configuration as a walk over the layers that have something to decide (``l``), one action each (``a`` values).

    An action holds one value in [0, 1] for each kind of knob, the relative place among its options; kinds that the layer
    does not have are 0. A state is AMC's: what the layer is, how much is decided, how much is left, the last action; besides, how
    the loss grows with each kind of choice in this layer, and the preference over the goals. Parameters of the device are decided
    in a last step, when the network is known; its state is that of a layer without work.
    """

    def __init__(self, composition: Composition) -> None:
        problem = composition.problem
        space, workload = problem.space, problem.workload
        self.cardinalities = space.cardinalities
        free = [(i, knob) for i, knob in enumerate(space.knobs) if self.cardinalities[i] > 1]
        kinds = sorted({knob.name for _, knob in free})
        steps = [step for step in dict.fromkeys((*space.layers, DEVICE)) if any(knob.layer == step for _, knob in free)]
        self.columns = np.array([i for i, _ in free], np.int64)
        self.places = (
            np.array([steps.index(knob.layer) for _, knob in free], np.int64),
            np.array([kinds.index(knob.name) for _, knob in free], np.int64),
        )
        mask = np.zeros((len(steps), max(len(kinds), 1)))  # a network of no output would warn
        mask[self.places] = 1
        rows = [workload.names.index(step) for step in steps if step in workload.names]
        without_work = (0, len(steps) - len(rows))
        macs = workload.macs[rows] / max(workload.macs.sum(), 1)
        described = (
            np.arange(len(rows)),
            *(np.broadcast_to(getattr(workload, name), workload.shape)[rows] for name in ("op", "kernel_h", "stride", "groups")),
            *(np.log2(np.broadcast_to(getattr(workload, name), workload.shape)[rows]) for name in ("in_channels", "out_channels")),
            macs,
            workload.weights[rows],
            np.cumsum(macs[::-1])[::-1] - macs,  # left to decide after this layer
        )
        features = np.pad(np.stack(described, axis=1).astype(np.float64), (without_work, (0, 0)))
        features = np.hstack([features, _curves(composition, steps)])
        low, span = (features.min(0), np.ptp(features, axis=0)) if len(steps) else (0.0, 1.0)
        self.mask = torch.tensor(mask, dtype=torch.float32)
        self.features = torch.tensor(np.hstack([(features - low) / np.where(span == 0, 1, span), mask]), dtype=torch.float32)
        self.share = torch.tensor(np.pad(macs, without_work), dtype=torch.float32)[:, None] * self.mask / self.mask.sum(1, keepdim=True)
        self.length, self.kinds = mask.shape
        self.width = self.features.shape[1] + 1 + self.kinds + len(problem.goals)

    def actions(self, vectors: Vectors) -> Tensor:
        """The walks that end in these vectors, ``b x k`` to ``b x l x a``."""
        actions = np.zeros((len(vectors), self.length, self.kinds), np.float32)
        actions[:, *self.places] = vectors[:, self.columns] / (self.cardinalities[self.columns] - 1)
        return torch.from_numpy(actions)

    def vectors(self, actions: Tensor) -> Vectors:
        """Where walks end, ``b x l x a`` to ``b x k``."""
        vectors = np.zeros((len(actions), len(self.cardinalities)), np.int64)
        vectors[:, self.columns] = np.rint(actions.numpy()[:, *self.places] * (self.cardinalities[self.columns] - 1))
        return vectors

    def states(self, actions: Tensor, preferences: Tensor) -> Tensor:
        """What the agent saw before each action, ``b x l x a`` and ``b x m`` to ``b x l x width``."""
        last = F.pad(actions, (0, 0, 1, 0))[:, :-1]
        reduced = F.pad((actions * self.share).sum(-1, keepdim=True).cumsum(1), (0, 0, 1, 0))[:, :-1]
        lead = (len(actions), self.length, -1)
        return torch.cat([self.features.expand(lead), reduced, last, preferences[:, None].expand(lead)], dim=-1)

    def state(self, actions: Tensor, preferences: Tensor, layer: Tensor) -> Tensor:
        """What the agent saw before one action of each walk: ``b x l x a``, ``b x m`` and ``b`` layers to ``b x width``, as in `states`."""
        is_before = torch.arange(self.length) < layer[:, None]
        reduced = ((actions * self.share).sum(-1) * is_before).sum(1, keepdim=True)
        last = actions[torch.arange(len(actions)), layer - 1] * (layer > 0)[:, None]
        return torch.cat([self.features[layer], reduced, last, preferences], dim=-1)


def _curves(composition: Composition, steps: Sequence[str]) -> NDArray[np.float64]:
    """The logarithm of the loss of each kind of choice at growing strengths, 0 where a layer has no such choice, ``steps x curve``."""
    curves = np.zeros((len(steps), len(composition.kinds), len(STRENGTHS)))
    for part, table in zip(composition.parts, composition.tables, strict=True):
        if part.layer in steps:
            mildest = table.reshape(part.options[0], -1).min(1)  # over the ways to do it
            places = np.rint(STRENGTHS * (part.options[0] - 1)).astype(int)
            curves[steps.index(part.layer), composition.kinds.index(part.switch)] = np.log1p(mildest[places] / LEAST)
    return curves.reshape(len(steps), len(composition.kinds) * len(STRENGTHS))


def within_limits(walk: Walk, problem: Problem, vectors: Vectors) -> Vectors:
    """The nearest walks that meet the limits known on paper, ``b x k`` canonical in and out; those that do already stay as they are.

    A walk may go on as it likes as long as the limits can be met with all later layers at their strongest. The layer with which that
    ends moves as little as possible towards its own strongest action, the later ones are at theirs. Parameters of the device stay.
    A walk that not even that helps ends where all layers are at their strongest.
    """
    moved = vectors.copy()
    broken = np.flatnonzero(problem.violation(vectors) > 0)
    if not len(broken):
        return moved
    step_of = np.full(len(walk.cardinalities), walk.length)
    step_of[walk.columns] = walk.places[0]
    step_of[list(problem.space.of_device)] = -1
    low, high = np.zeros(len(broken), np.int64), np.full(len(broken), walk.length)  # steps that surely stay, that surely cannot all
    for _ in range(int(np.ceil(np.log2(max(walk.length, 1)))) + 1):
        middle = (low + high) // 2
        fits = problem.violation(_stronger(walk, problem, vectors[broken], step_of, middle, 1.0)) == 0
        low, high = np.where(fits & (middle > low), middle, low), np.where(fits, high, np.minimum(middle, high))
        high = np.maximum(high, low + 1)
    left = np.arange(len(broken))
    for share in SHARES:
        tried = _stronger(walk, problem, vectors[broken[left]], step_of, low[left], share)
        moved[broken[left]] = tried
        left = left[problem.violation(tried) > 0]
        if not len(left):
            break
    return moved


def _stronger(walk: Walk, problem: Problem, vectors: Vectors, step_of: Vectors, steps: Vectors, share: float) -> Vectors:
    """Walks whose own ``steps`` (``b``) first steps stay, whose next goes a share of the way to its strongest, the rest all of it."""
    strongest = walk.cardinalities - 1
    nearer = np.rint(vectors + share * (strongest - vectors)).astype(np.int64)
    later = np.where(step_of == steps[:, None], nearer, strongest)
    return problem.space.canonical(np.where((step_of < steps[:, None]) | (step_of == walk.length), vectors, later))
