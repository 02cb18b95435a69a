"""The profile, through a real Ray and a real cache: what is measured, what is kept, and what is measured again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from autocomp.channels import normalize
from autocomp.choice import Configuration
from autocomp.cluster import Cluster
from autocomp.compression import default_methods
from autocomp.compression.quantization import Quantization
from autocomp.distill import FineTuning
from autocomp.errors import ConfigError
from autocomp.evaluate import Evaluator
from autocomp.objective import Objective
from autocomp.problem import Problem
from autocomp.profile import FILE, Profile, measure_profile
from autocomp.profile_plan import ProfilePlan
from autocomp.progress import Progress
from autocomp.sensitivity import Sensitivity, changed, singles
from autocomp.space import Knob, SearchSpace
from autocomp.tasks.base import ImageSet
from autocomp.tracing import trace
from hwmodels import load_device

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SHAPE = (1, 6, 6)
LAYERS = ("0", "3", "7")
SPARSITY, BITS = (0.0, 0.25, 0.5), (32, 8, 6, 4)
PLAN = ProfilePlan(images=64, mixtures=6, pairs=4)
SINGLES = len(LAYERS) * (2 + 3)


class Watcher(Progress):
    """Keeps what it hears; interrupts when that many probes are done."""

    def __init__(self, interrupt: int | None = None) -> None:
        self.counts: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self.interrupt = interrupt

    def profiling(self, total: int, done: int) -> None:
        self.counts.append((total, done))
        if self.interrupt is not None and done >= self.interrupt:
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass(frozen=True)
class Picky(Quantization):
    """Fails on four bits in layer 3."""

    def apply(self, model: nn.Module, configuration: Configuration) -> nn.Module:
        if configuration.choice("3").weight_bits == 4:
            raise ArithmeticError("four\nand more")
        return super().apply(model, configuration)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "profiles"


def make_space(bits: tuple[int, ...] = BITS, layers: tuple[str, ...] = LAYERS) -> SearchSpace:
    knobs = [Knob(layer, *knob) for layer in layers for knob in (("sparsity", SPARSITY), ("pattern", ("fine",)), ("weight_bits", bits))]
    return SearchSpace(LAYERS, tuple(knobs))


def make_evaluator(space: SearchSpace | None = None, *, seed: int = 0, **finetune: Any) -> Evaluator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU()]
        network = normalize(nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 4)).eval(), SHAPE)
    assert network is not None
    workload = trace(network, SHAPE)
    problem = Problem(
        workload, space or make_space(), default_methods(None), load_device("zcu102"), (Objective("accuracy", "max"),), {"accuracy": 1.0}
    )
    generator = np.random.default_rng(1)
    images = ImageSet(generator.integers(0, 256, (100, *SHAPE), np.uint8), generator.integers(0, 4, 100))
    return Evaluator(problem, network, images, images, (0.5,), (0.25,), FineTuning(**finetune))


def profile(evaluator: Evaluator, plan: ProfilePlan = PLAN, *, progress: Progress | None = None, folder: Path | None = None) -> Profile:
    found = measure_profile(evaluator, plan, cluster=Cluster(), workers=2, progress=progress or Progress(), folder=folder)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A profile from an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOCOMP_CACHE", str(tmp_path_factory.mktemp("own")))
        return profile(make_evaluator())


def test_every_choice_is_measured_alone_and_some_together(whole: Profile) -> None:
    alone = whole.sensitivity.singles()
    assert [probe.configuration for probe in alone] == singles(make_space())
    assert len(alone) == SINGLES
    assert whole.failed == 0
    sizes = [len(changed(probe.configuration)) for probe in whole.sensitivity.mixtures()]
    assert 8 <= len(sizes) <= 4 + 6  # two of them may be the same
    assert max(sizes) > 2
    assert whole.sensitivity.images == 64
    assert whole.spent == pytest.approx(whole.sensitivity.image_passes)


def test_workers_measure_what_one_process_does(whole: Profile) -> None:
    prober = make_evaluator().prober(64, seed=0)
    for probe in whole.sensitivity.probes[::5]:
        (own,) = prober([probe.configuration]).probes
        assert (own.loss, own.accuracy) == (probe.loss, probe.accuracy)


def test_losses_grow_with_strength_and_small_ones_nearly_add_up(whole: Profile) -> None:
    losses = {probe.configuration.key: probe.loss for probe in whole.sensitivity.singles()}
    for layer in LAYERS:
        mild, strong = (Configuration.unflatten({f"{layer}/weight_bits": bits}).key for bits in (8, 4))
        assert losses[mild] < losses[strong]
    expected, measured = whole.sensitivity.interaction(most=2)
    assert len(expected) >= 3
    np.testing.assert_allclose(measured, expected, rtol=0.5)


def test_a_second_profile_measures_nothing(cache: Path) -> None:
    first = profile(make_evaluator())
    (file,) = cache.iterdir()
    written, watcher = file.stat().st_mtime_ns, Watcher()
    second = profile(make_evaluator(), progress=watcher)
    total = len(first.sensitivity.probes)
    assert second.spent == 0
    assert watcher.counts == [(total, total)]
    assert second.sensitivity.probes == first.sensitivity.probes
    assert second.sensitivity.image_passes == pytest.approx(first.sensitivity.image_passes)
    assert file.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "other",
    [
        make_evaluator(seed=1),  # weights
        make_evaluator(alpha=1.0),  # labels that may not be read
        make_evaluator(correct_bias=True),  # how a trial begins
        replace(make_evaluator(), mean=(0.4,)),  # images
    ],
    ids=["weights", "labels", "repair", "images"],
)
def test_whatever_figures_depend_on_is_measured_again(other: Evaluator, cache: Path) -> None:
    first = profile(make_evaluator(), ProfilePlan(images=64, mixtures=0, pairs=0))
    second = profile(other, ProfilePlan(images=64, mixtures=0, pairs=0))
    assert second.spent >= first.spent > 0
    assert len(list(cache.iterdir())) == 2


def test_another_space_measures_only_what_is_new() -> None:
    plan = ProfilePlan(images=64, mixtures=0, pairs=0)
    watcher = Watcher()
    profile(make_evaluator(), plan)
    wider = profile(make_evaluator(make_space((32, 8, 6, 4, 3))), plan, progress=watcher)
    assert watcher.counts[0] == (SINGLES + 3, SINGLES)
    assert 0 < wider.spent < wider.sensitivity.image_passes


def test_an_interrupted_profile_keeps_what_was_measured_and_goes_on_with_the_rest(tmp_path: Path, whole: Profile) -> None:
    total = len(whole.sensitivity.probes)
    first = Watcher(interrupt=8)
    with pytest.raises(KeyboardInterrupt):
        profile(make_evaluator(), progress=first, folder=tmp_path / "run")
    done = first.counts[-1][1]
    assert 8 <= done < total
    partial = json.loads((tmp_path / "run" / FILE).read_text())
    assert len(partial["probes"]) == done
    second = Watcher()
    resumed = profile(make_evaluator(), progress=second, folder=tmp_path / "run")
    assert second.counts[0] == (total, done)
    assert [(p.configuration, p.loss) for p in resumed.sensitivity.probes] == [(p.configuration, p.loss) for p in whole.sensitivity.probes]
    # the run has paid for both parts
    assert resumed.spent == pytest.approx(resumed.sensitivity.image_passes)


def test_a_run_that_lost_the_cache_goes_on_from_its_folder(tmp_path: Path, cache: Path) -> None:
    first = profile(make_evaluator(), folder=tmp_path / "run")
    (file,) = cache.iterdir()
    file.unlink()
    watcher = Watcher()
    again = profile(make_evaluator(), progress=watcher, folder=tmp_path / "run")
    assert len(watcher.counts) == 1
    assert again.sensitivity.probes == first.sensitivity.probes


@pytest.mark.parametrize("content", ["", "{", '{"probes": [1]}', '{"probes": [], "accuracy": 1}'])
def test_a_damaged_cache_is_made_again(cache: Path, content: str) -> None:
    plan = ProfilePlan(images=64, mixtures=0, pairs=0)
    first = profile(make_evaluator(), plan)
    (file,) = cache.iterdir()
    file.write_text(content)
    assert profile(make_evaluator(), plan).spent == pytest.approx(first.spent)


def test_a_probe_that_fails_is_noted_and_left_out_and_tried_again() -> None:
    evaluator = make_evaluator()
    methods = tuple(Picky() if isinstance(m, Quantization) else m for m in evaluator.problem.methods)
    broken, watcher = replace(evaluator, problem=replace(evaluator.problem, methods=methods)), Watcher()
    plan = ProfilePlan(images=64, mixtures=0, pairs=0)
    found = profile(broken, plan, progress=watcher)
    assert found.failed == 1
    assert len(found.sensitivity.probes) == SINGLES - 1
    assert watcher.notes == [f"1 of the {SINGLES} probes of the sensitivity profile failed and are left out: ArithmeticError: four"]
    again = Watcher()
    profile(broken, plan, progress=again)
    assert again.counts[0] == (SINGLES, SINGLES - 1)


def test_the_run_folder_gets_the_profile_and_what_it_took(tmp_path: Path, whole: Profile) -> None:
    found = profile(make_evaluator(), folder=tmp_path)
    record = json.loads((tmp_path / FILE).read_text())
    assert set(record) == {"key", "accuracy", "images", "image_passes", "probes", "spent_passes", "failed", "rank_correlation"}
    assert Sensitivity.from_record(record).probes == found.sensitivity.probes
    assert record["rank_correlation"] == whole.sensitivity.rank_correlation()


def test_where_nothing_can_be_decided_nothing_is_measured() -> None:
    evaluator = make_evaluator(SearchSpace(LAYERS, ()))
    assert measure_profile(evaluator, PLAN, cluster=Cluster(), workers=2, progress=Progress()) is None


def test_a_problem_that_knows_a_profile_keeps_what_the_evaluator_had_computed(whole: Profile) -> None:
    evaluator = make_evaluator()
    evaluator._logits[0] = torch.ones(4)
    knowing = evaluator.knowing(whole.sensitivity)
    assert knowing.problem.sensitivity is whole.sensitivity
    assert evaluator.problem.sensitivity is None
    assert 0 in knowing._logits


def test_parameters_of_the_device_cost_no_probe() -> None:
    space = make_space()
    with_device = SearchSpace(LAYERS, (*space.knobs, Knob("hw", "clock_mhz", (100, 200))))
    own, wider = (PLAN.configurations(s) for s in (space, with_device))
    assert len(own) == len(wider)
    assert [Configuration(c) for c in wider] == own
    assert all(c.device for c in wider if len(changed(c)) > 2)  # mixtures lie in the space


def test_mixtures_lie_in_the_space_and_reach_from_mild_to_strong() -> None:
    space = make_space()
    planned = ProfilePlan(mixtures=32, pairs=0).configurations(space)
    mixtures = [c for c in planned if len(changed(c)) > 1]
    assert all(space.contains(c) for c in mixtures)
    strengths = np.sort(space.encode(mixtures).sum(1) / (space.cardinalities - 1).sum())
    assert strengths[0] < 0.25
    assert strengths[-1] > 0.75


def test_more_mixtures_keep_those_that_were_planned_before() -> None:
    few, many = (ProfilePlan(mixtures=n, pairs=n).configurations(make_space()) for n in (4, 9))
    assert set(few) < set(many)


@pytest.mark.parametrize(("name", "value"), [("images", 0), ("images", 1), ("mixtures", -1), ("pairs", -1), ("seed", -1)])
def test_numbers_out_of_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=rf"`profile.{name}` must be at least \d, but is {value}"):
        replace(ProfilePlan(), **{name: value})  # type: ignore[arg-type]
