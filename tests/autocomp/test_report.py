"""The report and its figures, on hand-made runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autocomp.choice import Choice, Configuration
from autocomp.figures import describe, front_figure, hypervolume_figure, layers_figure
from autocomp.objective import Objective
from autocomp.outcome import FrontMember, Outcome
from autocomp.report import write_report
from autocomp.trial import Status, Trial

OBJECTIVES = (
    Objective("accuracy", "max"),
    Objective("latency_s", limit=2e-4),
    Objective("energy_j"),
    Objective("size_bytes", optimised=False),
)
BASELINE = {"accuracy": 1.0, "latency_s": 2e-4, "energy_j": 4e-6, "size_bytes": 1000.0}
REFERENCE = {"accuracy": 0.5, "latency_s": 2e-4, "energy_j": 4e-6}


def trial(number: int, accuracy: float, share: float, status: Status = Status.COMPLETE, **changes: Any) -> Trial:
    """A trial that costs a share of the teacher's latency and energy."""
    metrics = {"accuracy": accuracy, "loss": 1 - accuracy} | {m: share * BASELINE[m] for m in ("latency_s", "energy_j", "size_bytes")}
    configuration = Configuration({"conv<1>": Choice(weight_bits=4), "fc": Choice(sparsity=0.25 * number, pattern="fine")})
    return Trial(number, configuration, status, metrics, **changes)


def outcome(**changes: Any) -> Outcome:
    """Two members on the front, one dominated trial, one stopped early, one failed."""
    front = [trial(0, 0.75, 0.5), trial(2, 0.9, 0.75)]
    others = [
        trial(1, 0.7, 0.8),
        trial(3, 0.6, 0.9, Status.PRUNED),
        Trial(4, Configuration({}), Status.FAILED, reason="<script>boom</script>"),
    ]
    members = [FrontMember(t, {**t.metrics, "test_accuracy": 0.8}, Path()) for t in front]
    told: dict[str, Any] = {
        "name": "digits & fpga",
        "trials": [front[0], others[0], front[1], *others[1:]],
        "front": members,
        "best": 2,
        "baseline": BASELINE,
        "reference": REFERENCE,
        "objectives": OBJECTIVES,
        "config": {"seed": 0, "task": {"name": "<digits>"}},
    }
    return Outcome(**told | changes)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of `outcome`."""
    path = tmp_path_factory.mktemp("report") / "run" / "report.html"
    write_report(path, outcome())
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_the_page_brings_its_library_once_and_loads_nothing(page: str) -> None:
    assert len(page) < 5_500_000
    assert page.count("plotly.js v") == 1
    own = "".join(part.partition("</script>")[2] for part in page.split("<script"))
    assert "src=" not in own
    assert "<link" not in own


def test_the_page_shows_the_best_beside_the_teacher(page: str) -> None:
    assert "<b>150.0 µs</b><span>teacher 200.0 µs</span>" in page  # 0.75 * 2e-4 s
    assert '<tr class="best"><td>trial 2</td>' in page
    assert "5 trials, 2 on the front" in page


def test_what_a_run_says_is_text_and_never_markup(page: str) -> None:
    assert "<script>boom" not in page
    assert "&lt;script&gt;boom" in page
    assert "<title>digits &amp; fpga</title>" in page
    assert "name: &lt;digits&gt;" in page


def test_the_page_says_how_far_the_prices_may_be_from_the_truth(tmp_path: Path, page: str) -> None:
    assert "published figures" not in page  # where no factor is known, none is claimed
    write_report(tmp_path / "report.html", outcome(hardware="zcu<102>", uncertainty={"latency": 1.25, "energy": 3.0}))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "those of zcu&lt;102&gt;; nine of ten published figures of its family lie within a factor 1.25 (latency), 3 (energy)." in text


def test_a_run_without_a_front_still_has_a_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", outcome(front=[], best=None))
    assert "No trial met every limit" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_run_without_a_trial_still_has_a_report(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", outcome(trials=[], front=[], best=None))
    assert "0 trials, 0 on the front" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_each_cost_of_the_search_has_a_panel() -> None:
    figure = front_figure(outcome())
    first = {trace.name: trace for trace in figure.data if trace.xaxis == "x"}
    assert list(first) == ["stopped early", "dominated", "front", "best", "teacher"]
    assert list(first["front"].x) == pytest.approx([100.0, 150.0])  # half and three quarters of 200 us
    assert list(first["front"].y) == [75.0, 90.0]  # percent
    assert list(first["best"].x) == pytest.approx([150.0])
    assert len(figure.data) == 2 * len(first)  # latency and energy; the size is not optimised
    assert figure.layout.xaxis2.title.text == "Energy (µJ)"


def test_a_point_says_what_was_done_to_each_layer() -> None:
    front = next(trace for trace in front_figure(outcome()).data if trace.name == "front")
    assert "conv&lt;1&gt;: weight bits 4" in front.hovertext[0]
    assert "fc: sparsity 0.5 fine" in front.hovertext[1]


def test_hypervolume_grows_with_the_front_alone() -> None:
    # Box from the reference (0.5, 1, 1) to the ideal corner: accuracy 0.75 spans 0.25 / 0.5 of it, half the latency and
    # half the energy 0.5 each: 0.125. Accuracy 0.9 at three quarters of the cost adds (0.4 - 0.25) / 0.5 * 0.25 * 0.25.
    volumes = list(hypervolume_figure(outcome()).data[0].y)
    assert volumes == pytest.approx([0.125, 0.125, 0.125 + 0.3 * 0.0625, 0.125 + 0.3 * 0.0625, 0.125 + 0.3 * 0.0625])


def test_each_knob_in_use_has_a_panel_of_layers_by_members() -> None:
    figure = layers_figure(outcome())
    sparsity, bits = figure.data
    assert [list(row) for row in sparsity.z] == [[0.0, 0.0], [0.0, 0.5]]
    assert [list(row) for row in bits.z] == [[4, 4], [32, 32]]
    assert list(sparsity.y) == ["conv<1>", "fc"]
    assert list(sparsity.x) == ["trial 0", "trial 2"]


def test_a_choice_is_described_in_a_few_words() -> None:
    choice = Choice(sparsity=0.5, pattern="filter", rank=0.25, factorization="svd", weight_bits=4)
    assert describe(choice) == "sparsity 0.5 filter, rank 0.25 svd, weight bits 4"
