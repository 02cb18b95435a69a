"""Draw the front of a run for the README: `python docs/front.py RUN_FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import pyarrow.parquet as pq

mpl.use("Agg")
import matplotlib.pyplot as plt

PANELS = (("latency_s", 1e6, "latency, µs per image"), ("energy_j", 1e6, "energy, µJ per image"))
QUALITY = ("accuracy", 100, "validation accuracy, %")


def draw(run: Path, target: Path) -> None:
    """All trials grey, the polished front in colour, the teacher as a star."""
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    trials, front = (pq.read_table(run / f"{name}.parquet").to_pylist() for name in ("trials", "front"))
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    quality, scale, label = QUALITY
    for axis, (cost, factor, name) in zip(axes, PANELS, strict=True):
        for rows, style in ((trials, {"color": "0.7", "label": "trials"}), (front, {"color": "tab:blue", "label": "front, polished"})):
            known = [row for row in rows if row[cost] is not None]
            axis.scatter([factor * row[cost] for row in known], [scale * row[quality] for row in known], s=22, **style)
        teacher, best = summary["teacher"], summary["best"]
        axis.scatter(factor * teacher[cost], scale * teacher[quality], marker="*", s=140, color="tab:orange", label="teacher")
        axis.scatter(factor * best[cost], scale * best[quality], s=90, facecolor="none", edgecolor="tab:red", label="best")
        axis.set(xlabel=name, ylim=(scale * teacher[quality] - 15, scale * 1.01))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(label)
    axes[1].legend(loc="lower right")
    figure.savefig(target, dpi=130)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(__file__).parent / "front.png")
