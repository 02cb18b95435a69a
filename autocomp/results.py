"""What a run leaves in its folder: tables, summary and report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocomp.figures import front_figure
from autocomp.files import new_file
from autocomp.outcome import FrontMember, Outcome
from autocomp.pareto import ParetoFront
from autocomp.report import write_report
from autocomp.space import SearchSpace
from autocomp.tables import METRICS, SOMETIMES, trial_table, write_table

CONFIG, TRIALS, FRONT, SUMMARY, REPORT = "config.yaml", "trials.parquet", "front.parquet", "summary.json", "report.html"
PLOT = "front.html"


def summarise(outcome: Outcome, *, image_passes: float, wall_s: float) -> dict[str, Any]:
    """The content of `summary.json`: plain JSON data.

    Args:
        outcome: the run.
        image_passes: compute of trials, polish, and what this run measured of a profile, together; one per image forward and three
            per image trained.
        wall_s: seconds that the run took, since it was last resumed.
    """
    best = outcome.recommended
    front = ParetoFront(outcome.objectives, [m.trial for m in outcome.front])
    return {
        "name": outcome.name,
        "seed": outcome.config["seed"],
        "teacher": _reported(outcome.baseline),
        "best": _row(best) if best else None,
        "hypervolume": front.hypervolume(outcome.reference, outcome.baseline),
        "reference_point": dict(outcome.reference),
        "trials": dict(Counter(str(trial.status) for trial in outcome.trials)),
        "front": [_row(member) for member in outcome.front],
        "wall_s": wall_s,
        "image_passes": image_passes,
        "profile_passes": outcome.sensitivity.image_passes if outcome.sensitivity else 0.0,
    }


def _row(member: FrontMember) -> dict[str, Any]:
    device = dict(member.trial.configuration.device)
    return {"trial_id": member.trial.id, **_reported(member.metrics), **({"device": device} if device else {})}


def _reported(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in (*METRICS, *SOMETIMES, "test_accuracy") if name in metrics}


def write_results(outcome: Outcome, summary: Mapping[str, Any], space: SearchSpace, folder: Path) -> list[Path]:
    """Write every file of a finished run; returns those that are worth keeping elsewhere, too."""
    on_front = {member.trial.id for member in outcome.front}
    write_table(trial_table(outcome.trials, space, on_front), folder / TRIALS)
    extra = {member.trial.id: {"test_accuracy": member.metrics["test_accuracy"]} for member in outcome.front}
    write_table(trial_table([member.trial for member in outcome.front], space, on_front, extra), folder / FRONT)
    write_report(folder / REPORT, outcome)
    with new_file(folder / PLOT) as part:  # small, for MLflow's viewer; the report is the one that opens offline
        front_figure(outcome).write_html(part, include_plotlyjs="cdn")
    with new_file(folder / SUMMARY) as part:
        part.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in (CONFIG, TRIALS, FRONT, SUMMARY, REPORT, PLOT)]
