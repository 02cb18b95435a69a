"""Parameters of the device as knobs of the search, from the configuration to the files of a run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from autocomp.card import model_card
from autocomp.choice import Choice, Configuration
from autocomp.compression import Quantization
from autocomp.errors import ConfigError, UnreachableLimitError
from autocomp.journal import Journal
from autocomp.problem import Problem
from autocomp.searchers import AnnealingSearcher, EvolutionSearcher, RandomSearcher, ReinforcementSearcher, Searcher
from autocomp.searchers.composition import Composition
from autocomp.searchers.feasible import find_feasible, uniform_start
from autocomp.searchers.walk import Walk
from autocomp.space import Knob, SearchSpace
from autocomp.space_rules import build_space
from autocomp.tables import trial_table
from autocomp.trial import Status, Trial
from hwmodels import load_device

ROOT = Path(__file__).parents[2]
AXES: dict[str, list[Any]] = {"rows": [32, 8, 16], "arrays": [1, 4], "dataflow": ["os", "ws"]}
SEARCHERS: dict[str, Callable[..., Searcher]] = {  # with a fraction of the usual effort: it is about manners, not about quality
    "random": RandomSearcher,
    "annealing": partial(AnnealingSearcher, chains=8, steps=4, rounds=2),
    "nsga2": EvolutionSearcher,
    "rl": partial(ReinforcementSearcher, proposals=16, steps=2, warm_up=4, memory=64, generations=1, children=8, rounds=2),
}
DEVICE = {"rows": 16, "arrays": 4, "dataflow": "ws"}
Toy = Callable[..., Problem]


def codesign(toy: Toy, axes: dict[str, list[Any]] | None = None, layers: int = 4, knobs: tuple[Knob, ...] | None = None) -> Problem:
    """The toy network on a ZCU102 that is open on some axes; the teacher is priced on it as it is."""
    axes = AXES if axes is None else axes
    plain = toy(layers) if knobs is None else toy(layers, knobs=knobs)
    space = SearchSpace(plain.space.layers, (*plain.space.knobs, *(Knob("hw", key, tuple(values)) for key, values in axes.items())))
    problem = replace(plain, space=space, hardware=load_device("zcu102", axes=axes))
    return replace(problem, baseline={"accuracy": 0.99, "loss": 0.01, **problem.metrics_of(Configuration({}))})


def test_a_configuration_goes_to_text_and_back_with_its_device() -> None:
    configuration = Configuration({"a": Choice(weight_bits=4)}, DEVICE)
    flat = configuration.flatten()
    assert flat == {"a/weight_bits": 4, "hw/arrays": 4, "hw/dataflow": "ws", "hw/rows": 16}
    assert Configuration.unflatten(json.loads(json.dumps(flat))) == configuration
    assert Configuration.unflatten(flat).device == DEVICE


def test_configurations_with_other_devices_differ() -> None:
    one, same, other = (Configuration({}, {"rows": rows}) for rows in (8, 8, 16))
    assert one == same
    assert len({one, same, other, Configuration({})}) == 3
    assert one.key == same.key != other.key
    assert "rows" in repr(one)


def test_a_configuration_without_a_device_is_written_as_before() -> None:
    assert Configuration({"a": Choice(weight_bits=4)}).flatten() == {"a/weight_bits": 4}
    assert repr(Configuration({})) == "Configuration({})"


def test_a_layer_may_be_called_hw() -> None:
    configuration = Configuration({"hw": Choice(weight_bits=4)}, {"rows": 8})
    assert configuration.flatten() == {"hw/weight_bits": 4, "hw/rows": 8}
    assert Configuration.unflatten(configuration.flatten()) == configuration
    space = SearchSpace(("hw",), (Knob("hw", "weight_bits", (8, 4)), Knob("hw", "rows", (8, 16))))
    assert space.decode(np.array([1, 0])) == configuration
    assert space.encode([configuration]).tolist() == [[1, 0]]


def test_numbers_go_up_and_words_stay_as_they_are_given() -> None:
    assert Knob("hw", "rows", (32, 8, 16)).options == (8, 16, 32)
    assert Knob("hw", "dataflow", ("os", "ws", "is")).options == ("os", "ws", "is")
    with pytest.raises(ConfigError, match="hw/rows has"):
        Knob("hw", "rows", (8, 8))


def test_vectors_and_configurations_are_the_same_designs(toy: Toy) -> None:
    problem = codesign(toy)
    vectors = problem.space.sample(np.random.default_rng(0), 50)
    configurations = [problem.space.decode(vector) for vector in vectors]
    assert (problem.space.encode(configurations) == vectors).all()
    assert problem.space.designs(vectors) == {key: [c.device[key] for c in configurations] for key in AXES}
    assert {(c.device["rows"], c.device["dataflow"]) for c in configurations} == {(r, d) for r in (8, 16, 32) for d in ("os", "ws")}


@pytest.mark.parametrize("device", [{}, {"rows": 16}, {**DEVICE, "rows": 12}, {**DEVICE, "cols": 16}])
def test_a_device_outside_of_the_axes_is_not_in_the_space(device: dict[str, Any], toy: Toy) -> None:
    space = codesign(toy).space
    layers = space.decode(np.zeros(len(space.knobs), np.int64))
    assert space.contains(Configuration(layers, DEVICE))
    assert not space.contains(Configuration(layers, device))


def test_rules_and_axes_make_one_space(toy: Toy) -> None:
    workload = toy(2).workload.replace(op=[0, 0])
    space = build_space([{"weight_bits": [8, 4]}], workload, (Quantization(),), {"rows": [16, 8]})
    assert set(space.names[:-1]) >= {"conv0/weight_bits", "conv1/weight_bits"}
    assert space.names[-1] == "hw/rows"
    assert space.knobs[-1].options == (8, 16)
    with pytest.raises(ConfigError, match="cannot decide on the device's `rank`, because every layer has a knob of that name"):
        build_space([], workload, (), {"rank": [1, 2]})


def test_each_candidate_is_priced_on_its_own_design(toy: Toy) -> None:
    problem = codesign(toy)
    vectors = problem.space.sample(np.random.default_rng(1), 20)
    configurations = [problem.space.decode(vector) for vector in vectors]
    report, (metrics, _) = problem.price(configurations), problem.paper_metrics(vectors)
    for i, configuration in enumerate(configurations):
        alone = replace(problem, hardware=load_device("zcu102", configuration.device)).price([Configuration(configuration)])
        np.testing.assert_allclose(report.latency_s[i], alone.latency_s[0])
        np.testing.assert_allclose(report.energy_j[i], alone.energy_j[0])
        assert report.feasible[i] == alone.feasible[0]
        assert problem.metrics_of(configuration)["latency_s"] == pytest.approx(metrics["latency_s"][i])


def test_the_teacher_is_priced_on_the_device_as_it_is(toy: Toy) -> None:
    problem = codesign(toy)
    plain = replace(problem, hardware=load_device("zcu102"))
    assert problem.metrics_of(Configuration({})) == plain.metrics_of(Configuration({}))
    # beside others, too
    mixed = problem.price([Configuration({}, {"rows": 8, "arrays": 1, "dataflow": "ws"}), Configuration({})])
    np.testing.assert_array_equal(mixed.latency_s[1], plain.price([Configuration({})]).latency_s[0])


def test_a_design_beyond_the_chip_is_infeasible_with_the_reason(toy: Toy) -> None:
    problem = codesign(toy, {"rows": [16, 64], "cols": [16, 64], "arrays": [1, 4]})
    layers = problem.space.decode(np.zeros(len(problem.space.knobs), np.int64))
    large, small = (Configuration(layers, {"rows": size, "cols": size, "arrays": 4}) for size in (64, 16))
    assert problem.reasons(large)[0] == "needs 16384 DSP, the device has 2520"
    assert not problem.reasons(small)
    assert problem.feasible(problem.space.encode([large, small])).tolist() == [False, True]


def test_a_design_that_cannot_exist_is_infeasible_with_the_reason(toy: Toy) -> None:
    axes = {"rows": [64, 128], "active_rows": [64, 128]}
    problem = replace(codesign(toy, axes={}), hardware=load_device("isaac", axes=axes))
    problem = replace(problem, space=SearchSpace(problem.space.layers, tuple(Knob("hw", key, tuple(v)) for key, v in axes.items())))
    vectors = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert problem.feasible(vectors).tolist() == [True, False, True, True]
    assert not problem.feasible(vectors[[1]]).any()  # alone, too
    assert "rules between its parameters" in problem.reasons(problem.space.decode(vectors[1]))[0]


def test_when_every_design_is_too_large_the_closest_is_named(toy: Toy) -> None:
    problem = codesign(toy, {"rows": [64, 128], "arrays": [4, 8]})
    with pytest.raises(UnreachableLimitError, match="needs 4096 DSP, the device has 2520"):
        find_feasible(problem, np.random.default_rng(0), 4)


def test_a_device_without_axes_refuses_a_configuration_that_decides_on_it(toy: Toy) -> None:
    problem = replace(codesign(toy), hardware=load_device("zcu102"))
    with pytest.raises(ConfigError, match="Hardware 'zcu102' has no axes, but a configuration decides on its arrays, dataflow, rows"):
        problem.price([Configuration({}, DEVICE)])


@pytest.mark.parametrize("kind", SEARCHERS.values(), ids=SEARCHERS)
def test_every_searcher_decides_on_the_device_too(kind: Callable[..., Searcher], toy: Toy, play: Callable[..., list[Trial]]) -> None:
    # 64 rows x 16 columns x 4 arrays are too many, so that a part of the designs is infeasible
    problem = codesign(toy, {"rows": [8, 16, 64], "arrays": [1, 4], "dataflow": ["os", "ws"]})
    trials = play(kind(problem, seed=0, trials=20), problem, range(20))
    assert len({trial.configuration for trial in trials}) == 20
    assert all(problem.space.contains(trial.configuration) and not problem.reasons(trial.configuration) for trial in trials)
    assert len({tuple(trial.configuration.device.values()) for trial in trials}) >= 4
    again = play(kind(problem, seed=0, trials=20), problem, range(10))
    assert again == trials[:10]


@pytest.mark.parametrize("kind", SEARCHERS.values(), ids=SEARCHERS)
def test_a_searcher_goes_on_from_its_state(kind: Callable[..., Searcher], toy: Toy, play: Callable[..., list[Trial]]) -> None:
    problem = codesign(toy)
    first: Searcher = kind(problem, seed=0, trials=30)
    play(first, problem, range(10))
    second: Searcher = kind(problem, seed=0, trials=30)
    second.load_state_dict(first.state_dict())
    assert play(second, problem, range(10, 14)) == play(first, problem, range(10, 14))


@pytest.mark.parametrize("kind", SEARCHERS.values(), ids=SEARCHERS)
def test_the_device_may_be_all_there_is_to_decide(kind: Callable[..., Searcher], toy: Toy, play: Callable[..., list[Trial]]) -> None:
    problem = codesign(toy, knobs=())
    trials = play(kind(problem, seed=0, trials=12), problem, range(20))
    assert len(trials) == 3 * 2 * 2  # every combination once, then nothing is left


def test_the_same_network_on_a_dearer_device_is_no_move_worth_a_trial(toy: Toy, measure: Callable[..., Trial]) -> None:
    problem = codesign(toy, {"clock_mhz": [100, 200]}, layers=2)  # the slower clock costs time and static energy
    searcher = AnnealingSearcher(problem, seed=0, trials=10, start=0)
    mild = np.zeros((1, len(problem.space.knobs)), np.int64)
    slow, fast, strong = mild.copy(), mild.copy(), mild.copy()
    fast[0, -1] = strong[0, -1] = 1
    strong[0, 4] += 1  # one bit less
    searcher.tell(measure(problem, 0, problem.space.decode(fast[0])))
    for _ in range(5):
        moves = np.concatenate([slow, strong])
        assert (searcher.choose(moves, searcher._exact(problem.paper_metrics(moves)[0])) == strong[0]).all()


def test_the_agent_decides_on_the_device_in_the_last_step(toy: Toy) -> None:
    problem = codesign(toy)
    walk = Walk(Composition(problem))
    assert walk.length == len(problem.space.layers) + 1
    vectors = problem.space.sample(np.random.default_rng(0), 20)
    actions = walk.actions(vectors)
    free = problem.space.cardinalities > 1
    assert (walk.vectors(actions)[:, free] == vectors[:, free]).all()
    assert walk.mask[-1].sum() == len(AXES)
    assert walk.mask[:-1].sum() == free.sum() - len(AXES)
    assert (actions[:, :-1, walk.mask[-1] > 0] == 0).all()
    without = Walk(Composition(toy(4)))
    assert without.length == walk.length - 1
    # where the device is fixed, the state is what it was
    np.testing.assert_array_equal(without.share, walk.share[:-1, walk.mask[:-1].sum(0) > 0])


def test_the_opening_meets_every_pair_of_parameters(toy: Toy) -> None:
    problem = codesign(toy, {"rows": [8, 16], "cols": [8, 16], "arrays": [1, 2]})
    opening = uniform_start(problem, 12)
    for first, second in ((-3, -2), (-3, -1), (-2, -1)):
        assert len({tuple(pair) for pair in opening[:, [first, second]].tolist()}) == 4


def test_a_trial_comes_back_from_the_journal_with_its_device(tmp_path: Path) -> None:
    trial = Trial(0, Configuration({"a": Choice(weight_bits=4)}, DEVICE), Status.COMPLETE, {"accuracy": 0.5})
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(trial)
    assert journal.trials() == [trial]


def test_the_table_of_a_run_has_a_column_for_each_parameter() -> None:
    knobs = (Knob("a", "weight_bits", (8, 4)), *(Knob("hw", n, o) for n, o in (("rows", (8, 16)), ("clock_mhz", (100.0, 150.0)))))
    knobs = (*knobs, Knob("hw", "dataflow", ("os", "ws")), Knob("hw", "weight_double_buffer", (True, False)))
    device = {"rows": 16, "clock_mhz": 100.0, "dataflow": "ws", "weight_double_buffer": False}
    table = trial_table([Trial(0, Configuration({}, device))], SearchSpace(("a",), knobs), on_front=())
    kinds = {name: table.schema.field(f"choice/hw/{name}").type for name in device}
    assert kinds == {"rows": pa.int64(), "clock_mhz": pa.float64(), "dataflow": pa.string(), "weight_double_buffer": pa.bool_()}
    assert {name: table[f"choice/hw/{name}"].to_pylist() for name in device} == {name: [value] for name, value in device.items()}


def test_the_card_says_which_device_a_network_was_designed_with() -> None:
    record = {
        "name": "digits-zcu102",
        "version": "1",
        "task": "digits",
        "hw": "zcu102",
        "trial": 3,
        "input_shape": [1, 8, 8],
        "mean": [0.0],
        "std": [1.0],
        "metrics": {"accuracy": 0.9},
        "teacher": {"accuracy": 0.95},
        "configuration": Configuration({"a": Choice(weight_bits=4)}, DEVICE).flatten(),
    }
    card = model_card(record)
    assert "| rows | 16 |" in card
    assert "| dataflow | ws |" in card
    assert "device that it was designed with" not in model_card({**record, "configuration": {"a/weight_bits": 4}})


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.mlflow
def test_a_search_designs_network_and_device_and_can_be_resumed(
    tmp_path: Path, autocomp: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    small = ("task.epochs=2", "finetune=none", "finetune.polish_members=1", "workers=1")
    axes = ("hw.axes={rows:[8,16,32],dataflow:[os,ws]}", "--searcher", "random")
    searched = autocomp(tmp_path, "search", "--trials", "3", "--out", "run", *axes, *small)
    assert searched.returncode == 0, searched.stderr
    run = tmp_path / "run"
    before = (run / "journal.jsonl").read_text()

    # as if it had been stopped one trial before its end
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["hw"]["axes"] == {"rows": [8, 16, 32], "dataflow": ["os", "ws"]}
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "trials": 4}, sort_keys=False))
    (run / "summary.json").unlink()
    resumed = autocomp(tmp_path, "resume", "run")
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "journal.jsonl").read_text().startswith(before)

    rows = pq.read_table(run / "trials.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["COMPLETE"] * 4
    designs = [(row["choice/hw/rows"], row["choice/hw/dataflow"]) for row in rows]
    assert set(designs) <= {(size, flow) for size in (8, 16, 32) for flow in ("os", "ws")}
    assert len(set(designs)) > 1
    ended = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines() if "COMPLETE" in line]
    assert [(line["configuration"]["hw/rows"], line["configuration"]["hw/dataflow"]) for line in ended] == designs

    summary = json.loads((run / "summary.json").read_text())
    assert summary["name"] == "digits-fpga"
    best = summary["best"]["device"]
    assert (best["rows"], best["dataflow"]) == designs[summary["best"]["trial_id"]]
    head = next(line.split() for line in resumed.stdout.splitlines() if line.split()[:2] == ["trial", "accuracy"])
    assert head[-2:] == ["rows", "dataflow"]
    assert f"dataflow {best['dataflow']}, rows {best['rows']}" in (run / "report.html").read_text(encoding="utf-8")

    assert autocomp(tmp_path, "pull", "digits-fpga@best", "--out", "model").returncode == 0
    record = json.loads((tmp_path / "model" / "configuration.json").read_text())
    assert record["configuration"]["hw/rows"] == best["rows"]
    assert f"| rows | {best['rows']} |" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
