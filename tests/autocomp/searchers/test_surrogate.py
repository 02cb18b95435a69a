"""What is guessed before it is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import spearmanr

from autocomp.choice import Configuration
from autocomp.problem import Problem
from autocomp.searchers.composition import Composition, Features
from autocomp.searchers.feasible import spread_sample
from autocomp.searchers.surrogate import Curve, Observations, Scales, Surrogate, best_power, candidates
from autocomp.sensitivity import Probe, Sensitivity, singles
from autocomp.space import Vectors
from autocomp.trial import Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]


def profiled(problem: Problem, measure: Measure, mixtures: int = 24) -> Problem:
    """The problem with the profile of the toy's own accuracy: a loss is the logarithm of what is left of it."""
    space = problem.space
    together = [space.decode(v) for v in spread_sample(space, np.random.default_rng(1), mixtures)]
    probes = []
    for configuration in [*singles(space), *together]:
        left = (measure(problem, 0, configuration).metrics["accuracy"] - 0.1) / 0.89
        probes.append(Probe(configuration, -float(np.log(max(left, 1e-9))), left * 0.99))
    return replace(problem, sensitivity=Sensitivity(0.99, 256, 0.0, tuple(probes)))


def features(problem: Problem, vectors: Vectors) -> Features:
    return Composition(problem).features(vectors)


def accuracies(problem: Problem, vectors: Vectors, measure: Measure) -> np.ndarray:
    return np.array([measure(problem, 0, problem.space.decode(v)).metrics["accuracy"] for v in vectors])


def told(surrogate: Surrogate, problem: Problem, vectors: Vectors, values: Sequence[float] | np.ndarray) -> None:
    guesses = np.full((len(vectors), 2), np.nan)
    surrogate.fit(features(problem, vectors), np.zeros(len(vectors)), np.asarray(values), guesses)


def test_features_are_what_single_choices_cost_and_how_strong_they_are(toy: Toy, measure: Measure) -> None:
    problem = profiled(toy(2), measure)
    vectors = np.zeros((2, len(problem.space.knobs)), np.int64)
    vectors[1, problem.space.names.index("conv1/sparsity")] = 5
    made_of = features(problem, vectors)
    part = [(p.layer, p.switch) for p in Composition(problem).parts].index(("conv1", "sparsity"))
    # the toy's second layer: sensitivity (0.3 + 2 |sin 7|) / 2, damage 2 x 0.5^3; the eight bits of all layers cost nothing much
    assert made_of.losses[1, part] == pytest.approx((0.3 + 2 * abs(np.sin(7.0))) / 2 * 0.25, rel=1e-6)
    assert made_of.losses[0, part] == 0
    assert made_of.strengths[:, part].tolist() == [0.0, 5 / 9]


def test_without_a_profile_stronger_options_are_assumed_to_cost_more(toy: Toy) -> None:
    composition = Composition(toy())
    for part, table in zip(composition.parts, composition.tables, strict=True):
        by_switch = table.reshape(part.options)
        assert (np.diff(by_switch, axis=0) >= 0).all()


def test_a_curve_is_inverted_by_the_strengths_at_which_it_has_fallen() -> None:
    curve, x = Curve(0.5, 2.0, 0.3, 0.0, 0.01), np.linspace(-1.0, 1.5, 9)
    for fidelity in (np.zeros(9), np.ones(9)):
        np.testing.assert_allclose(curve.strengths(curve(x, fidelity), fidelity)[0], x, atol=1e-9)
    flat, steep = curve.strengths(np.array([0.004, 0.4]), np.zeros(2))[1]
    assert flat > 20 * steep  # a fall that hardly shows says little about where it came from


@pytest.mark.parametrize("power", [0.4, 0.6, 0.8, 1.0])
def test_mixtures_tell_to_which_power_losses_add_up(power: float) -> None:
    generator = np.random.default_rng(0)
    losses = 10 ** generator.uniform(-4, 0, (32, 8)) * generator.uniform(0, 1, (32, 1)) ** 2
    strengths = np.log((losses**power).sum(1))
    fall = expit(1.2 / power * (strengths - np.median(strengths))) + generator.normal(0, 0.01, 32)
    probes = Observations(Features(losses, np.zeros_like(losses)), np.zeros(32), fall)
    assert best_power(probes) == power
    assert best_power(probes[np.arange(32) < 7]) == Scales.power  # too few to tell
    assert {scales.power for scales in candidates(Scales(power=0.8))} == {0.6, 0.8, 1.0}


def test_guesses_follow_how_the_losses_of_a_profile_add_up(toy: Toy, measure: Measure) -> None:
    problem = profiled(toy(4), measure, 32)  # losses of this network's layers add up as they are
    vectors = spread_sample(problem.space, np.random.default_rng(5), 16)
    surrogate = Surrogate(Composition(problem), "accuracy")
    assert surrogate.model.scales.power == best_power(surrogate.probes) > Scales.power
    told(surrogate, problem, vectors, accuracies(problem, vectors, measure))
    assert surrogate.model.scales in candidates(Scales(power=best_power(surrogate.probes)))
    bare = Surrogate(Composition(toy(4)), "accuracy")
    assert bare.model.scales.power == Scales.power


@pytest.mark.parametrize("profile", [True, False])
def test_guesses_rank_unseen_configurations(toy: Toy, measure: Measure, *, profile: bool) -> None:
    problem = profiled(toy(), measure) if profile else toy()
    generator = np.random.default_rng(3)
    known, unseen = spread_sample(problem.space, generator, 24), spread_sample(problem.space, generator, 200)
    surrogate = Surrogate(Composition(problem), "accuracy")
    told(surrogate, problem, known, accuracies(problem, known, measure))
    mean, deviation = surrogate.predict(features(problem, unseen))
    truth = accuracies(problem, unseen, measure)
    assert spearmanr(mean, truth).statistic > (0.95 if profile else 0.85)
    assert np.mean(np.abs(mean - truth) < 2 * deviation) > 0.8


def test_a_profile_is_enough_to_begin_with(toy: Toy, measure: Measure) -> None:
    problem = profiled(toy(), measure)
    unseen = spread_sample(problem.space, np.random.default_rng(3), 200)
    mean, _ = Surrogate(Composition(problem), "accuracy").predict(features(problem, unseen))
    assert spearmanr(mean, accuracies(problem, unseen, measure)).statistic > 0.9


def test_trials_correct_what_the_profile_says(toy: Toy, measure: Measure) -> None:
    """Training repairs all of the damage that a profile without training foresees."""
    problem = profiled(toy(), measure)
    generator = np.random.default_rng(4)
    known, unseen = spread_sample(problem.space, generator, 30), spread_sample(problem.space, generator, 100)
    surrogate = Surrogate(Composition(problem), "accuracy")
    before, _ = surrogate.predict(features(problem, unseen))
    told(surrogate, problem, known, np.full(30, problem.baseline["accuracy"]))
    after, _ = surrogate.predict(features(problem, unseen))
    assert before.mean() < 0.8
    assert after.min() > problem.baseline["accuracy"] - 0.05


@pytest.mark.parametrize(("high", "low"), [(0.1, 0.1), (0.08, -0.15)])
def test_a_misfit_where_much_is_lost_is_no_reason_to_misjudge_where_little_is(toy: Toy, measure: Measure, high: float, low: float) -> None:
    """Trials that lose a tenth to seven tenths are off what the profile foresees; four that lose next to nothing are not."""
    problem = profiled(toy(), measure)
    generator = np.random.default_rng(7)
    strong, mild = spread_sample(problem.space, generator, 60), generator.integers(0, 2, (20, len(problem.space.knobs)))
    found = accuracies(problem, strong, measure)
    strong, found = (rows[(found > 0.3) & (found < 0.9)][:14] for rows in (strong, found))
    mild = problem.space.canonical(np.minimum(mild, problem.space.cardinalities - 1))
    truth = accuracies(problem, mild, measure) - 0.004
    surrogate = Surrogate(Composition(problem), "accuracy")
    values = np.concatenate([found + np.where(found > 0.6, high, low), truth[:4]])
    told(surrogate, problem, np.concatenate([strong, mild[:4]]), values)
    mean, _ = surrogate.predict(features(problem, mild[10:]))
    np.testing.assert_allclose(mean, truth[10:], atol=0.004)


def test_deviations_widen_when_trials_are_farther_off_than_claimed(toy: Toy, measure: Measure) -> None:
    problem = profiled(toy(), measure)
    vectors = spread_sample(problem.space, np.random.default_rng(5), 12)
    made_of, values = features(problem, vectors), accuracies(problem, vectors, measure)
    widths = []
    for off in (0.0, 2.0):
        surrogate = Surrogate(Composition(problem), "accuracy")
        guesses = np.stack([values + off * 0.01, np.full(12, 0.01)], axis=1)
        surrogate.fit(made_of, np.zeros(12), values, guesses)
        widths.append(surrogate.width)
    # (8 + 12 x 0) / (8 + 12) and (8 + 12 x 4) / (8 + 12)
    np.testing.assert_allclose(widths, np.sqrt([8 / 20, 56 / 20]))


def test_diverged_trials_are_left_out(toy: Toy) -> None:
    problem = toy()
    vectors = spread_sample(problem.space, np.random.default_rng(6), 10)
    surrogate = Surrogate(Composition(problem), "accuracy")
    told(surrogate, problem, vectors, np.full(10, np.nan))
    assert np.isfinite(surrogate.predict(features(problem, vectors))).all()


def test_among_trials_only_what_they_do_not_tell_is_uncertain(toy: Toy, measure: Measure) -> None:
    problem = profiled(toy(), measure)
    generator = np.random.default_rng(8)
    tried, far = spread_sample(problem.space, generator, 24), spread_sample(problem.space, generator, 100)
    beside = tried.copy()
    beside[:, 0] = (beside[:, 0] + 1) % problem.space.cardinalities[0]
    surrogate = Surrogate(Composition(problem), "accuracy")
    told(surrogate, problem, tried, accuracies(problem, tried, measure))
    deviations = []
    for vectors in (tried, problem.space.canonical(beside), far):
        (mean, measured), (same, compared) = (surrogate.predict(features(problem, vectors), among_trials=a) for a in (False, True))
        np.testing.assert_array_equal(mean, same)
        assert (compared < measured).all()  # knowing more, and without the noise of a measurement
        deviations.append(np.median(compared))
    at, near, elsewhere = deviations
    assert at < 0.002 < near < elsewhere


def test_what_a_device_takes_whatever_is_done_says_nothing_of_what_is_done(toy: Toy, measure: Measure) -> None:
    """The first trial, hardly compressed, loses 2 points, and 8 to the device, as all others will beside what they lose themselves."""
    exact = profiled(toy(), measure)
    disturbed = replace(exact, untouched={"accuracy": exact.baseline["accuracy"] - 0.08})
    options = {"weight_bits": 1, "sparsity": 2}  # 7 bits, a fifth pruned
    first = exact.space.canonical(np.array([[options.get(knob.name, 0) for knob in exact.space.knobs]]))
    unseen = spread_sample(exact.space, np.random.default_rng(3), 200)
    truth = accuracies(exact, unseen, measure) - 0.08
    off = {}
    for problem in (exact, disturbed):
        surrogate = Surrogate(Composition(problem), "accuracy")
        told(surrogate, problem, first, accuracies(exact, first, measure) - 0.08)
        mean, _ = surrogate.predict(features(problem, unseen))
        off[problem is disturbed] = float(np.sqrt(np.mean((mean - truth)[truth > 0.2] ** 2)))
    assert off[True] < 0.1 < 0.3 < off[False]
