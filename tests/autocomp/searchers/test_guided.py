"""What guided searchers share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from autocomp.choice import Configuration
from autocomp.pareto import hypervolume
from autocomp.problem import Problem
from autocomp.searchers import AnnealingSearcher, Searcher
from autocomp.searchers.base import outcome
from autocomp.searchers.feasible import single_changes
from autocomp.searchers.guided import useful_rounds
from autocomp.searchers.knowledge import Forecast
from autocomp.trial import Status, Trial

Toy = Callable[..., Problem]
Measure = Callable[[Problem, int, Configuration], Trial]
Play = Callable[[Searcher, Problem, range], list[Trial]]


def guided(problem: Problem, play: Play, n: int = 8) -> AnnealingSearcher:
    searcher = AnnealingSearcher(problem, seed=0, trials=40, chains=8, steps=4)
    play(searcher, problem, range(n))
    return searcher


def test_a_forecast_is_exact_in_what_is_known_on_paper(toy: Toy, play: Play) -> None:
    problem = toy()
    vectors = problem.space.sample(np.random.default_rng(0), 5)
    forecast = guided(problem, play).known.forecast(vectors)
    for row, vector in zip(forecast.values, vectors, strict=True):
        metrics = problem.metrics_of(problem.space.decode(vector))
        # the reference point is what the teacher costs
        shares = [metrics[name] / problem.baseline[name] for name in ("latency_s", "energy_j")]
        np.testing.assert_allclose(row[1:], shares)
    assert (forecast.deviations > 0).all()


def test_guesses_are_kept_beside_what_was_measured(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy()
    searcher = guided(problem, play)
    configuration = searcher.ask(8)
    assert configuration is not None
    vector = problem.space.encode([configuration])
    expected = searcher.known.surrogates[0].predict(searcher.known.composition.features(vector))
    trial = measure(problem, 8, configuration)
    searcher.tell(trial)
    np.testing.assert_allclose(searcher.known.guesses[-1, 0], np.concatenate(expected))
    assert searcher.known.readings[-1, 0] == trial.metrics["accuracy"]


@pytest.mark.parametrize(("looks", "rounds"), [(1638.4, 12), (768, 12), (428, 6), (64, 1), (0, 1)])
def test_few_looks_are_divided_into_few_rounds(looks: float, rounds: int) -> None:
    assert useful_rounds(looks) == rounds


def test_the_most_promising_adds_more_than_any_single_change_of_it(toy: Toy, play: Play) -> None:
    problem = toy(2)
    searcher = guided(problem, play)
    met = searcher.known.forecast(problem.space.sample(np.random.default_rng(1), 50))
    searcher.rounds = 50
    (chosen,) = searcher.most_promising(met)
    gain = searcher.known.gain_model()

    def worth(vectors: np.ndarray) -> np.ndarray:
        forecast = searcher.known.forecast(vectors)
        return gain(forecast.values, forecast.deviations)

    around = [v for v in single_changes(problem.space, chosen) if v.tobytes() not in searcher.asked]
    assert worth(np.array(around)).max() <= worth(chosen[None])[0] + 1e-12
    assert worth(chosen[None])[0] >= worth(met.vectors).max()


def test_refinement_finds_what_two_knobs_of_a_layer_gain_only_together(toy: Toy, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = toy(2)
    searcher = guided(problem, play)
    names = [knob.name for knob in problem.space.knobs]
    starts = (0, len(names) // 2)  # of the two layers
    pairs = [(names.index("weight_bits", start), names.index("sparsity", start)) for start in starts]

    def forecast(vectors: np.ndarray) -> Forecast:
        """Free of cost, the more accurate the more layers have both knobs changed; one alone makes it worse."""
        changed = vectors > 0
        values = np.full((len(vectors), 3), 0.5)
        for one, other in pairs:
            values[:, 0] += np.select([changed[:, one] & changed[:, other], changed[:, one] | changed[:, other]], [-0.1, 0.1], 0.0)
        return Forecast(vectors, values, np.zeros(len(vectors)), np.zeros(len(vectors)), {})

    monkeypatch.setattr(searcher.known, "forecast", forecast)
    monkeypatch.setattr(searcher.known, "landmarks", lambda: np.zeros((0, 3)))
    (chosen,) = searcher.most_promising(forecast(np.zeros((1, len(names)), np.int64)))
    assert all(chosen[one] > 0 and chosen[other] > 0 for one, other in pairs)


def test_each_of_several_proposals_adds_most_to_those_before_it(toy: Toy, play: Play) -> None:
    problem = toy(3)
    searcher = guided(problem, play)
    met = searcher.known.forecast(problem.space.sample(np.random.default_rng(1), 30))
    found = searcher.most_promising(met, 5)
    assert len({vector.tobytes() for vector in found} - set(searcher.asked)) == 5
    known = searcher.known.landmarks()
    for vector in found:
        gain, (chosen, others) = searcher.known.gain_model(known), (searcher.known.forecast(vector[None]), met)
        is_free = np.array([row.tobytes() not in searcher.asked for row in others.vectors])
        assert gain(chosen.values, chosen.deviations)[0] >= gain(others.values, others.deviations)[is_free].max()
        known = np.concatenate([known, chosen.values])


def test_one_look_serves_several_asks_where_many_trials_are_under_way(toy: Toy, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = toy(3)
    searcher = guided(problem, play)
    looks: list[int] = []
    look = searcher.look

    def counted() -> Forecast:
        looks.append(len(searcher.known.pending))
        return look()

    monkeypatch.setattr(searcher, "look", counted)
    for number in range(8, 44):
        searcher.ask(number)
    assert looks == [*range(17), 18, 20, 22, 24, 26, 28, 30, 32, 35]


def test_proposals_that_were_not_asked_yet_are_part_of_the_state(toy: Toy, play: Play) -> None:
    problem = toy(3)
    searcher = guided(problem, play)
    for number in range(8, 41):  # the last of these looks for three
        searcher.ask(number)
    assert len(searcher.ready) == 2
    again = AnnealingSearcher(problem, seed=1, trials=40, chains=8, steps=4)
    again.load_state_dict(searcher.state_dict())
    assert [again.ask(i) for i in range(41, 47)] == [searcher.ask(i) for i in range(41, 47)]


def test_a_limit_on_accuracy_leaves_nothing_to_win_below_it(toy: Toy, play: Play) -> None:
    problem = toy(accuracy=0.9)
    searcher = guided(problem, play)
    # half of the teacher's 0.99 is the reference: 0.9 lies at (0.99 - 0.9) / 0.495 of the way
    assert searcher.known._ceiling(0) == pytest.approx(0.09 / 0.495)
    asked = searcher.ask(8)
    assert asked is not None
    assert searcher.known.forecast(problem.space.encode([asked])).values[0, 0] < 0.09 / 0.495 + 0.1


def test_trials_outside_the_limits_are_no_part_of_the_landscape(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy(accuracy=0.9)
    searcher = guided(problem, play)
    told = measure(problem, 8, searcher.ask(8) or Configuration({}))
    free = {name: problem.baseline[name] * 1e-3 for name in ("latency_s", "energy_j")}
    searcher.tell(replace(told, metrics={**told.metrics, **free, "accuracy": 0.6}))  # costs nothing and breaks the limit
    point = np.array([[0.05, 0.5, 0.5]])
    known = searcher.known.landmarks()
    assert len(known) <= 8
    assert (known[:, 1:] > 1e-3).all()
    want = hypervolume(np.concatenate([known, point]), np.ones(3)) - hypervolume(known, np.ones(3))
    assert searcher.known.gain_model()(point, np.zeros(1))[0] <= want + 1e-9
    assert searcher.known.gain_model()(point, np.zeros(1))[0] > 0


def test_a_lucky_trial_is_a_landmark_with_what_was_to_be_expected_of_it(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy(3)
    searcher = guided(problem, play, 20)
    told = measure(problem, 20, searcher.ask(20) or Configuration({}))
    searcher.tell(replace(told, metrics={**told.metrics, "accuracy": told.metrics["accuracy"] + 0.03}))
    lucky, values = searcher.known.values[-1], searcher.known.landmarks()
    (landmark,) = values[(values[:, 1:] == lucky[1:]).all(axis=1)]  # prices are exact
    fair = outcome(problem, told)
    assert lucky[0] < landmark[0]
    assert abs(landmark[0] - fair[0]) < abs(lucky[0] - fair[0])


def test_goals_that_are_all_known_on_paper_need_no_guess(toy: Toy, play: Play) -> None:
    problem = toy()
    on_paper = replace(problem, objectives=problem.objectives[1:])
    searcher = AnnealingSearcher(on_paper, seed=0, trials=12, start=0, chains=8, steps=8)
    trials = play(searcher, on_paper, range(6))
    assert not searcher.known.surrogates
    # both costs fall together: the first ask is already the cheapest there is, or next to it
    assert outcome(on_paper, trials[0]).max() < 0.05


def test_a_pruned_trial_teaches_the_surrogate_and_joins_no_front(toy: Toy, play: Play, measure: Measure) -> None:
    problem = toy()
    searcher = guided(problem, play)
    archive = searcher.known.archive.tolist()
    great = measure(problem, 8, searcher.ask(8) or Configuration({}))
    searcher.tell(replace(great, status=Status.PRUNED, fidelity=0.3, metrics={**great.metrics, "accuracy": 1.0}))
    assert searcher.known.archive.tolist() == archive
    assert searcher.known.readings[-1, 0] == 1.0
