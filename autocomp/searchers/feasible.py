"""Where a search may go: feasible configurations, uniform ones, and ways between them."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from autocomp.errors import UnreachableLimitError
from autocomp.problem import Problem
from autocomp.space import SearchSpace, Vectors

# Knobs of one kind move together in a uniform configuration: by name, its dimension and the power of its strengths.
KINDS = {"weight_bits": (1, 1), "activation_bits": (1, 1), "sparsity": (2, 2), "rank": (3, 2)}
STARTS = 4  # random vectors that a descent starts from, beside the strongest
OVERSAMPLING = 16  # uniform vectors that are priced for each one wanted
PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)


def distinct(vectors: Vectors) -> Vectors:
    """The rows that no row before equals, ``b x k``."""
    return np.asarray(vectors[first_places(vectors)])


def first_places(vectors: Vectors) -> NDArray[np.int64]:
    """The places of the rows that no row before equals."""
    first = {row.tobytes(): i for i, row in reversed(list(enumerate(vectors)))}
    return np.array(sorted(first.values()), np.int64)


def everything(space: SearchSpace, most: int) -> Vectors | None:
    """All vectors of a small space; None if there are more than ``most``."""
    if math.prod(space.cardinalities.tolist()) > most:
        return None
    grid = np.array(list(itertools.product(*map(range, space.cardinalities))), np.int64)
    return distinct(space.canonical(grid))


def at_strength(space: SearchSpace, strengths: NDArray[np.float64]) -> Vectors:
    """The options at relative strengths in [0, 1], 0 the mildest, ``b x k`` in and out."""
    return space.canonical(np.rint(strengths * (space.cardinalities - 1)).astype(np.int64))


def spread_sample(space: SearchSpace, generator: np.random.Generator, n: int) -> Vectors:
    """``n`` random vectors whose overall strength is spread evenly, ``n x k``.

    Independent draws of many knobs all cost about the same, so that a tight limit is never met by chance; here each vector
    first draws its strength s, then its knobs around it, from Beta(1 + 4 s, 5 - 4 s).
    """
    s = generator.random((n, 1))
    strengths = generator.beta(1 + 4 * s, 5 - 4 * s, (n, len(space.knobs)))
    if space.of_device:  # where no option is stronger than another
        strengths[:, space.of_device] = generator.random((n, len(space.of_device)))
    return at_strength(space, strengths)


def single_changes(space: SearchSpace, vector: Vectors, chosen: Vectors | None = None) -> Vectors:
    """Every vector that differs from the given one in one knob, ``b x k``, canonical; or the ``chosen`` of all of them."""
    knob = np.repeat(np.arange(len(space.knobs)), space.cardinalities)
    option = np.arange(len(knob)) - np.repeat(np.cumsum(space.cardinalities) - space.cardinalities, space.cardinalities)
    if chosen is not None:
        knob, option = knob[chosen], option[chosen]
    result = np.repeat(vector[None], len(knob), axis=0)
    result[np.arange(len(knob)), knob] = option
    return space.canonical(result)


def double_changes(space: SearchSpace, vector: Vectors, generator: np.random.Generator, n: int) -> Vectors:
    """``n`` vectors that differ from the given one in up to two knobs of a layer, drawn at random, ``n x k``, canonical.

    A layer's knobs pay together: arithmetic gets cheaper when weights and activations both are narrow.
    """
    result, rows = np.repeat(vector[None], n, axis=0), np.arange(n)
    first = generator.integers(len(space.knobs), size=n)
    for knobs in (first, space.mates(first, generator)):
        result[rows, knobs] = generator.integers(space.cardinalities[knobs])
    return space.canonical(result)


def combined_changes(vector: Vectors, changed: Vectors, most: int) -> Vectors:
    """The first two, three, ... of several changes of a vector made together.

    Args:
        vector: what is changed, ``k``.
        changed: the vector after each change, the most important first, ``n x k``. A change of what an earlier one changes is left out.
        most: how many combinations.

    Returns:
        The combinations, ``b x k``.
    """
    together = vector
    made: list[Vectors] = []
    for moved, other in zip(changed != vector, changed, strict=True):
        if len(made) <= most and moved.any() and (together == vector)[moved].all():
            together = np.where(moved, other, together)
            made.append(together)
    return np.array(made[1:], np.int64).reshape(-1, len(vector))


def bridge(vector: Vectors, goal: Vectors, generator: np.random.Generator) -> Vectors:
    """A walk from one vector to another, one knob after the other in random order, both ends included, ``b x k``."""
    order = generator.permutation(np.flatnonzero(vector != goal))
    walk = np.repeat(vector[None], len(order) + 1, axis=0)
    for step, knob in enumerate(order, start=1):
        walk[step:, knob] = goal[knob]
    return walk


def descend(problem: Problem, vector: Vectors) -> tuple[Vectors, float]:
    """Greedy descent on `Problem.violation` by single knobs; the vector where it ends and its violation."""
    best, violation = vector, float(problem.violation(vector[None])[0])
    while violation > 0:
        candidates = single_changes(problem.space, best)
        violations = problem.violation(candidates)
        if not violations.min() < violation:
            break
        best, violation = candidates[violations.argmin()], float(violations.min())
    return best, violation


def find_feasible(problem: Problem, generator: np.random.Generator, n: int) -> Vectors:
    """Up to ``n`` different feasible vectors, at least one.

    Random vectors of every strength come first. Where they are all infeasible, greedy descents on the violation start
    from the strongest vector and from the best random ones, and the feasible neighbours of what they find fill the rest.

    Raises:
        UnreachableLimitError: if nothing feasible was found; says which limit is broken and by how little.
    """
    space = problem.space
    sample = everything(space, 64 * n)
    if sample is None:
        sample = distinct(spread_sample(space, generator, max(4 * n, 64)))
    sample = generator.permutation(sample)
    violations = problem.violation(sample)
    if (violations == 0).any():
        return np.asarray(sample[violations == 0][:n])
    starts = [at_strength(space, np.ones((1, len(space.knobs))))[0], *sample[np.argsort(violations, kind="stable")[:STARTS]]]
    ends = [descend(problem, start) for start in starts]
    found = np.array([end for end, violation in ends if violation == 0], np.int64)
    if not len(found):
        closest, _ = min(ends, key=lambda end: end[1])
        reasons = "; ".join(problem.reasons(space.decode(closest)))
        raise UnreachableLimitError(f"No configuration meets the limits; the closest one: {reasons}. Loosen the limit or widen the space.")
    around = distinct(np.concatenate([found, *(space.neighbours(vector, generator, 4 * n) for vector in found)]))
    return np.asarray(around[problem.feasible(around)][:n])


def uniform_start(problem: Problem, n: int) -> Vectors:
    """Up to ``n`` different feasible vectors that treat all layers alike, ``n x k``; always the same ones.

    Each kind of knob has one relative strength in all layers. The strengths follow the additive recurrence of the
    generalised golden ratio (Roberts 2018), which covers the cube evenly after any number of points; sparsity and rank
    are squared, because the first half of what can be removed costs less accuracy than the second. How-knobs take turns.
    Parameters of the device follow multiples of the square roots of primes (Richtmyer 1951), so that any two meet in every pair.
    """
    knobs = problem.space.knobs
    if n < 1:
        return np.zeros((0, len(knobs)), np.int64)
    points = np.arange(OVERSAMPLING * n)
    ratio = 2.0
    for _ in range(32):  # the fixed point of x^(d+1) = x + 1, d = 3
        ratio = (1 + ratio) ** 0.25
    vectors = np.empty((len(points), len(knobs)), np.int64)
    for column, (knob, options) in enumerate(zip(knobs, problem.space.cardinalities, strict=True)):
        if knob.name in KINDS:
            dimension, power = KINDS[knob.name]
            strength = ((0.25 + points / ratio**dimension) % 1) ** power
            vectors[:, column] = np.rint(strength * (options - 1))
        elif knob.is_of_device:
            prime = PRIMES[problem.space.of_device.index(column) % len(PRIMES)]
            vectors[:, column] = (0.5 + points * prime**0.5) % 1 * options
        else:
            vectors[:, column] = points % options
    vectors = distinct(problem.space.canonical(vectors))
    return np.asarray(vectors[problem.feasible(vectors)][:n])
