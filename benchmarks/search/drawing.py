"""What is on record of searchers, as a picture and as the table of a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

PANELS = (("trials", "trials"), ("image_passes", "image passes, profile included where one is used"))


def draw(name: str, courses: Mapping[str, Mapping[str, Mapping[str, Any]]], target: Path) -> None:
    """Hypervolume against trials and against image passes, the mean over seeds with its standard deviation.

    Args:
        name: of the case.
        courses: by searcher and seed, as `Course.to_record` gives them.
        target: PNG file.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    for searcher, by_seed in courses.items():
        shortest = min(by_seed.values(), key=lambda record: len(record["trials"]))
        volumes = np.array([record["hypervolume"][: len(shortest["trials"])] for record in by_seed.values()])
        mean, spread = volumes.mean(0), volumes.std(0, ddof=1) if len(volumes) > 1 else np.zeros(volumes.shape[1])
        for axis, (key, _) in zip(axes, PANELS, strict=True):
            places = np.mean([record[key][: len(mean)] for record in by_seed.values()], axis=0)
            (line,) = axis.plot(places, mean, label=f"{searcher} ({len(by_seed)})")
            axis.fill_between(places, mean - spread, mean + spread, color=line.get_color(), alpha=0.15, linewidth=0)
    for axis, (_, label) in zip(axes, PANELS, strict=True):
        axis.set(xscale="log", xlabel=label)
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="hypervolume", title=name)
    axes[0].legend(fontsize="small")
    figure.savefig(target, dpi=130)
    plt.close(figure)


def placed(page: str, name: str, content: str) -> str:
    """A page with new content between the markers ``<!-- search:NAME -->`` and ``<!-- end -->``.

    Raises:
        ValueError: if the page lacks the markers.
    """
    begin, end = f"<!-- search:{name} -->", "<!-- end -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"The page needs a line {begin} and, below it, a line {end}.")
    return f"{before}{begin}\n{content}\n{end}{after}"
