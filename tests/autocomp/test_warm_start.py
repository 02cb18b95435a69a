"""What a run takes over: journals are written by hand, teacher, data and devices are real."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocomp.choice import Choice, Configuration
from autocomp.compression import default_methods
from autocomp.distill import FineTuning
from autocomp.errors import UsageError
from autocomp.evaluate import Evaluator
from autocomp.journal import JOURNAL, Journal
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.space import Knob, SearchSpace
from autocomp.tasks import DigitsTask
from autocomp.tracing import trace
from autocomp.trial import Status, Trial
from autocomp.warm_start import ORIGIN, WarmStart, earlier_runs, origin, take_over, write_origin
from hwmodels import load_device

CONFIG: dict[str, Any] = {"finetune": {"epochs": 3, "polish_epochs": 8}, "pruning": {}, "block": None}
GOALS = (Objective("accuracy", "max"), Objective("latency_s"))


@pytest.fixture(scope="module")
def evaluator(digits: DigitsTask) -> Evaluator:
    """Every layer of the digits' network at 8, 6 or 4 bits on an FPGA."""
    network = digits.teacher()
    workload = trace(network, digits.input_shape).replace(batch=1)
    knobs = tuple(Knob(name, "weight_bits", (8, 6, 4)) for name in workload.names)
    problem = Problem(workload, SearchSpace(workload.names, knobs), default_methods(None), load_device("zcu102"), GOALS, {})
    problem = replace(problem, baseline={"accuracy": 0.99, **problem.metrics_of(Configuration({}))})
    return Evaluator(problem, network, digits.train(), digits.validation(), digits.mean, digits.std, FineTuning())


def bits(evaluator: Evaluator, first: int, others: int = 8) -> Configuration:
    names = evaluator.problem.workload.names
    return Configuration({name: Choice(weight_bits=others if i else first) for i, name in enumerate(names)})


def earlier(folder: Path, evaluator: Evaluator, *trials: Trial, config: dict[str, Any] | None = None) -> Path:
    """The folder of a run that measured some trials."""
    folder.mkdir()
    for trial in trials:
        Journal(folder / JOURNAL).append(trial)
    write_origin(folder, origin(evaluator, config or CONFIG))
    return folder


def measured(number: int, configuration: Configuration, accuracy: float, **more: Any) -> Trial:
    metrics = {"accuracy": accuracy, "loss": 0.1, "latency_s": 123.0, "energy_j": 456.0}  # prices of long ago
    return Trial(number, configuration, Status.COMPLETE, metrics, fidelity=3.0, **{"image_passes": 50.0, "duration_s": 2.0, **more})


def taken(evaluator: Evaluator, *folders: Path, most: int = 10, config: dict[str, Any] | None = None) -> WarmStart:
    return take_over(folders, evaluator, origin(evaluator, config or CONFIG), most)


def test_measured_trials_of_the_space_are_told_with_prices_of_here(evaluator: Evaluator, tmp_path: Path) -> None:
    eight, four = bits(evaluator, 8), bits(evaluator, 4)
    outside = bits(evaluator, 5)
    run = earlier(
        tmp_path / "a",
        evaluator,
        measured(0, eight, 0.98),
        measured(1, outside, 0.97),
        replace(measured(2, four, 0.5), status=Status.PRUNED, fidelity=1.0),
        Trial(3, bits(evaluator, 6), Status.FAILED),
        Trial(4, bits(evaluator, 6), Status.RUNNING),
    )
    found = taken(evaluator, run)
    assert [(t.id, t.configuration, t.status, t.fidelity) for t in found.told] == [
        (-1, eight, Status.COMPLETE, 3.0),
        (-2, four, Status.PRUNED, 1.0),
    ]
    for trial, accuracy in zip(found.told, (0.98, 0.5), strict=True):
        assert trial.metrics == {"accuracy": accuracy, "loss": 0.1} | evaluator.problem.metrics_of(trial.configuration)
        assert (trial.image_passes, trial.duration_s) == (0.0, 0.0)
    assert found.told[0].reason == f"trial 0 of {run}"
    assert found.proposals == ()
    assert found.lines == (f"warm start from {run}: 2 of its 5 trials are told to the searcher",)


def test_another_device_changes_prices_but_not_what_is_told(evaluator: Evaluator, tmp_path: Path) -> None:
    run = earlier(tmp_path / "a", evaluator, measured(0, bits(evaluator, 8), 0.98))
    elsewhere = replace(evaluator, problem=replace(evaluator.problem, hardware=load_device("eyeriss")))
    (here,), (there,) = taken(evaluator, run).told, taken(elsewhere, run).told
    assert here.metrics["accuracy"] == there.metrics["accuracy"]
    assert here.metrics["latency_s"] != there.metrics["latency_s"]


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"finetune": {"epochs": 5, "polish_epochs": 8}}, "training differs"),
        ({"pruning": {"filters": "l2"}}, "training differs"),
        ({"block": 4}, "training differs"),
    ],
)
def test_where_accuracies_would_be_others_the_front_is_only_tried_first(
    evaluator: Evaluator, tmp_path: Path, changed: dict[str, Any], because: str
) -> None:
    eight, six, four = (bits(evaluator, n, n) for n in (8, 6, 4))
    mixed = bits(evaluator, 8, 6)  # as slow as six bits or slower and less accurate
    trials = [measured(i, c, a) for i, (c, a) in enumerate([(eight, 0.98), (mixed, 0.90), (six, 0.97), (four, 0.93)])]
    run = earlier(tmp_path / "a", evaluator, *trials)
    found = taken(evaluator, run, config=CONFIG | changed)
    assert found.told == ()
    assert set(found.proposals) <= {eight, six, four}
    assert four in found.proposals
    assert found.lines == (f"warm start from {run}: its {len(found.proposals)} best configurations are tried first, because {because}",)
    (best,) = taken(evaluator, run, config=CONFIG | changed, most=1).proposals
    assert best in found.proposals


@pytest.mark.parametrize(("settings", "told"), [({"shift": 0, "flip": False}, 1), ({"shift": 2, "flip": False}, 0)])
def test_runs_from_before_a_setting_count_as_having_it_off(
    evaluator: Evaluator, tmp_path: Path, settings: dict[str, Any], told: int
) -> None:
    run = earlier(tmp_path / "a", evaluator, measured(0, bits(evaluator, 8), 0.98))
    assert len(taken(evaluator, run, config=CONFIG | {"finetune": CONFIG["finetune"] | settings}).told) == told


def test_how_finalists_are_polished_makes_no_difference(evaluator: Evaluator, tmp_path: Path) -> None:
    run = earlier(tmp_path / "a", evaluator, measured(0, bits(evaluator, 8), 0.98))
    polished = {"finetune": {"epochs": 3, "polish_epochs": 1, "polish_members": 2}}
    assert len(taken(evaluator, run, config=CONFIG | polished).told) == 1


def test_another_teacher_other_data_and_frozen_layers_are_told_apart(evaluator: Evaluator) -> None:
    here = origin(evaluator, CONFIG)
    other_data = replace(evaluator, validation=evaluator.validation.subset(slice(0, 100)))
    assert {k for k, v in origin(other_data, CONFIG).items() if v != here[k]} == {"data"}
    names = evaluator.problem.workload.names
    frozen = replace(evaluator, problem=replace(evaluator.problem, space=SearchSpace(names, (), frozen=names[:1])))
    assert {k for k, v in origin(frozen, CONFIG).items() if v != here[k]} == {"training"}
    taught = replace(evaluator, network=DigitsTask(epochs=1).teacher())
    assert {k for k, v in origin(taught, CONFIG).items() if v != here[k]} == {"teacher"}
    assert origin(evaluator, CONFIG) == here


def test_what_breaks_a_limit_here_is_told_but_not_proposed(evaluator: Evaluator, tmp_path: Path) -> None:
    eight, four = bits(evaluator, 8, 8), bits(evaluator, 4, 4)
    sizes = [evaluator.problem.metrics_of(c)["size_bytes"] for c in (eight, four)]
    limits = (*GOALS, Objective("size_bytes", limit=sum(sizes) / 2, optimised=False))
    tight = replace(evaluator, problem=replace(evaluator.problem, objectives=limits))
    run = earlier(tmp_path / "a", evaluator, measured(0, eight, 0.98), measured(1, four, 0.9))
    assert len(taken(tight, run).told) == 2
    assert taken(tight, run, config=CONFIG | {"block": 4}).proposals == (four,)


def test_of_several_runs_the_longest_training_counts_and_nothing_told_is_proposed(evaluator: Evaluator, tmp_path: Path) -> None:
    eight, six = bits(evaluator, 8), bits(evaluator, 6)
    one = earlier(tmp_path / "a", evaluator, measured(0, eight, 0.98), replace(measured(1, six, 0.9), fidelity=1.0))
    two = earlier(tmp_path / "b", evaluator, replace(measured(0, eight, 0.5), fidelity=1.0), measured(1, six, 0.97))
    other = earlier(tmp_path / "c", evaluator, measured(0, eight, 0.99), config=CONFIG | {"block": 4})
    found = taken(evaluator, one, two, other)
    assert {t.configuration: t.metrics["accuracy"] for t in found.told} == {eight: 0.98, six: 0.97}
    assert found.proposals == ()
    assert len(found.lines) == 3


def test_a_run_that_does_not_say_what_it_measured_is_only_tried_first(evaluator: Evaluator, tmp_path: Path) -> None:
    run = earlier(tmp_path / "a", evaluator, measured(0, bits(evaluator, 8), 0.98))
    (run / ORIGIN).unlink()
    found = taken(evaluator, run)
    assert len(found.proposals) == 1
    assert found.lines[0].endswith("because it does not say what its accuracies depend on")


def test_runs_are_named_alone_or_as_a_list(evaluator: Evaluator, tmp_path: Path) -> None:
    runs = [earlier(tmp_path / name, evaluator, measured(0, bits(evaluator, 8), 0.98)) for name in "ab"]
    assert earlier_runs({"warm_start": str(runs[0])}) == runs[:1]
    assert earlier_runs({"warm_start": [str(run) for run in runs]}) == runs
    assert earlier_runs({"warm_start": None}) == []


@pytest.mark.parametrize("is_list", [False, True])
def test_a_folder_without_a_run_is_one_clear_line(tmp_path: Path, is_list: bool) -> None:
    folder = str(tmp_path / "nowhere")
    with pytest.raises(UsageError) as error:
        earlier_runs({"warm_start": [folder] if is_list else folder})
    assert str(error.value) == f"`warm_start` names folders of earlier runs, but '{tmp_path}/nowhere' holds no run: it has no {JOURNAL}."


def test_what_was_taken_over_is_kept_in_the_runs_own_folder(evaluator: Evaluator, tmp_path: Path) -> None:
    assert WarmStart.read(tmp_path) == WarmStart()
    trial = replace(measured(-1, bits(evaluator, 8), 0.98), rungs=((0.0, 0.5, 0.8),))
    start = WarmStart((trial,), (bits(evaluator, 4),), ("a line",))
    start.write(tmp_path)
    assert WarmStart.read(tmp_path) == start
    assert json.loads((tmp_path / "warm_start.json").read_text())["lines"] == ["a line"]
