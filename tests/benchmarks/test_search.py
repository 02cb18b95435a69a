"""The comparison of searchers: what it counts, and what it puts into pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autocomp.tracing import trace
from benchmarks.search.compare import uses_profile
from benchmarks.search.digits27 import RelativePrices, network
from benchmarks.search.drawing import draw, placed
from benchmarks.search.searchers import RL_PARTS, SEARCHERS

COURSE: dict[str, list[Any]] = {"trials": [1, 2, 3], "hypervolume": [0.1, 0.2, 0.3], "image_passes": [10, 20, 30]}


def test_relative_prices_are_those_of_the_design_page() -> None:
    workload = trace(network().eval(), (1, 8, 8)).replace(batch=1)
    model = RelativePrices(float(workload.macs.sum()))
    for bits, cycles, energy in ((8, 1, 1), (5, 1, (5 / 8) ** 1.25), (4, 0.5, 0.5**1.25)):  # half a cycle at four bits or less
        report = model.estimate(workload.replace(weight_bits=bits))
        assert report.latency_s.sum() == pytest.approx(cycles)
        assert report.energy_j.sum() == pytest.approx(energy)


def test_the_profile_is_charged_to_those_who_use_one() -> None:
    charged = {name for name, make in {**SEARCHERS, **RL_PARTS}.items() if uses_profile(make)}
    assert charged == {"knapsack", "annealing", "portfolio", *RL_PARTS}


def test_only_what_lies_between_the_markers_of_a_page_changes() -> None:
    page = "before\n<!-- search:a -->\nold\n<!-- end -->\nbetween\n<!-- search:b -->\nkept\n<!-- end -->\nafter\n"
    assert placed(page, "a", "new") == page.replace("old", "new")
    with pytest.raises(ValueError, match="search:c"):
        placed(page, "c", "new")


def test_runs_of_different_length_are_drawn_up_to_the_shortest(tmp_path: Path) -> None:
    shorter: dict[str, Any] = {key: values[:2] for key, values in COURSE.items()}
    draw("case", {"random": {"0": COURSE, "1": shorter}, "once": {"0": COURSE}}, tmp_path / "case.png")
    assert (tmp_path / "case.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
