"""A compact student is taught once, compressed in the teacher's place, and compared with the teacher."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocomp.choice import Choice, Configuration
from autocomp.cli.composing import ConfigTree
from autocomp.compression.factorization import Factorization
from autocomp.errors import ConfigError, UnknownNameError
from autocomp.evaluate import Evaluator
from autocomp.hints import InnerGuide, paired
from autocomp.models import build
from autocomp.pose import pose
from autocomp.progress import Progress
from autocomp.tasks import DigitsTask, evaluate
from autocomp.tracing import trace
from autocomp.warm_start import origin
from hwmodels import load_device

SMALL = ("student.model=resnet20", "student.options={blocks:[1,1,1],widths:[4,8,8]}", "student.epochs=3")


class Told(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)


def posed(digits: DigitsTask, *settings: str, told: Told | None = None) -> tuple[Evaluator, dict[str, Any]]:
    config = ConfigTree().compose(settings)
    return pose(config, task=digits, hardware=load_device("zcu102"), progress=told or Told()), config


def test_the_student_is_compressed_and_the_teacher_is_what_it_is_compared_with(digits: DigitsTask) -> None:
    found, _ = posed(digits, *SMALL)
    alone, _ = posed(digits)
    assert found.student is not None
    assert found.problem.baseline == alone.problem.baseline
    assert found.problem.workload.names == trace(found.student, digits.input_shape).names
    untouched = found.problem.metrics_of(Configuration({}))
    assert untouched["params"] == sum(m.weight.numel() for m in found.student.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert untouched["params"] < found.problem.baseline["params"]


def test_a_trial_begins_with_the_student_and_learns_from_the_teacher(digits: DigitsTask) -> None:
    found, _ = posed(digits, *SMALL)
    assert found.student is not None
    (network, first), (_, second) = found.run(Configuration({}), seed=0, epochs=1)
    assert [p.shape for p in network.parameters()] == [p.shape for p in found.student.parameters()]
    assert second.metrics["loss"] < first.metrics["loss"]
    numbers = np.arange(8)
    with torch.no_grad():
        answers = found.network(found._batch(numbers)[0])
    torch.testing.assert_close(found._lesson(numbers)[2], answers)  # not the student's


def test_a_student_is_taught_once_and_then_comes_from_the_cache(digits: DigitsTask) -> None:
    told = [Told(), Told(), Told()]
    settings = (*SMALL, "student.seed=7")  # which no other test asks for
    first, _ = posed(digits, *settings, told=told[0])
    again, _ = posed(digits, *settings, told=told[1])
    posed(digits, *settings, "finetune.temperature=2", told=told[2])
    assert [any("teaching" in line for line in t.stages) for t in told] == [True, False, True]
    assert first.student is not None
    assert again.student is not None
    for ours, theirs in zip(first.student.state_dict().values(), again.student.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_student_learns_from_unlabelled_images_what_the_teacher_knows(digits: DigitsTask) -> None:
    found, _ = posed(digits, *SMALL[:2], "student.epochs=60", "finetune=unlabelled")
    assert found.student is not None
    accuracy, _ = evaluate(found.student, found.validation, mean=found.mean, std=found.std)
    assert accuracy > 0.9


def test_hints_pair_layers_of_other_names_by_depth() -> None:
    teacher = build("resnet20", classes=10, input_shape=(1, 8, 8), blocks=(1, 1, 1), widths=(4, 8, 8)).eval()
    one = nn.Sequential(nn.Conv2d(1, 4, 3, stride=4, padding=1), nn.Flatten(), nn.Linear(16, 10)).eval()
    assert paired(one, teacher, (1, 8, 8), 3) == [("0", trace_last(teacher))]
    found = InnerGuide(one, teacher, (1, 8, 8), hint_weight=1.0, attention_weight=1.0, layers=3, origin=one)
    x = torch.rand(4, 1, 8, 8)
    with found.watching():
        one(x)
        loss = found.loss(x)
    loss.backward()  # type: ignore[no-untyped-call]
    weight = one[0].weight
    assert isinstance(weight, Tensor)
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def trace_last(network: nn.Module) -> str:
    """The last convolution in the order of running."""
    names = trace(network, (1, 8, 8)).names
    return [name for name in names if isinstance(network.get_submodule(name), nn.Conv2d)][-1]


def test_a_student_with_hints_is_another_than_one_without(digits: DigitsTask) -> None:
    with_hints, _ = posed(digits, *SMALL, "finetune=distill")
    without, _ = posed(digits, *SMALL)
    ours, theirs = (e.student.state_dict() for e in (with_hints, without) if e.student is not None)
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_trials_of_another_student_are_not_taken_for_the_same(digits: DigitsTask) -> None:
    told = [origin(*posed(digits, *settings)) for settings in (SMALL, (*SMALL, "student.seed=1"), ())]
    assert len({t["training"] for t in told}) == 3
    assert len({t["teacher"] for t in told}) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (("student.model=nosuch",), UnknownNameError, "There is no network 'nosuch'"),
        (("student.model=lenet5",), ConfigError, "lenet5 needs images of at least 16x16"),
        (("student.model=lenet300", "student.options.foo=3"), ConfigError, "cannot be built from these options"),
        (("student.model=lenet300", "finetune=distill"), ConfigError, "Hints and attention need a convolution, but LeNet300"),
        (("student.options.width=2",), ConfigError, "`student.options` belong to a `student.model`"),
        (("student.epochs=0",), ConfigError, "`student.epochs` must be at least 1"),
        (("student.learning_rate=0",), ConfigError, "`student.learning_rate` must be positive"),
    ],
)
def test_a_student_that_cannot_be_is_one_clear_line(
    digits: DigitsTask, settings: tuple[str, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        posed(digits, *settings)
    assert "\n" not in str(raised.value)


def test_a_space_that_does_not_fit_the_student_is_said_before_it_is_taught(digits: DigitsTask) -> None:
    told = Told()
    with pytest.raises(ConfigError, match="fits none of fc1, fc2, fc3"):
        posed(digits, "student.model=lenet300", "space.rules=[{match: stem, weight_bits: [4]}]", told=told)
    assert not any("teaching" in line for line in told.stages)


def test_factors_are_fitted_to_answers_where_the_settings_say_so(digits: DigitsTask) -> None:
    first = next(name for name in posed(digits)[0].problem.workload.names if "conv" in name)
    configuration = Configuration({first: Choice(rank=0.4, factorization="svd_out")})
    found = [posed(digits, f"factorization.responses={value}")[0] for value in ("false", "true")]
    assert [m.responses for e in found for m in e.problem.methods if isinstance(m, Factorization)] == [False, True]
    losses = [next(e.run(configuration, seed=0, epochs=0))[1].metrics["loss"] for e in found]
    assert losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.ray
def test_a_search_compresses_the_student_on_real_workers(tmp_path: Path, autocomp: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    short = ("task.epochs=12", "finetune.epochs=1", "finetune.polish_epochs=1", "finetune.polish_members=1", "workers=2")
    settings = (*SMALL, *short, "profile.enabled=false", "tracking=none", "--trials", "4", "--out", "run")
    result = autocomp(tmp_path, "search", *settings)
    assert result.returncode == 0, result.stderr
    assert "the student resnet20 is compressed in the teacher's place" in result.stdout + result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["trials"] == {"COMPLETE": 4}
    assert summary["best"]["macs"] < 0.2 * summary["teacher"]["macs"]
