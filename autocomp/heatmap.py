"""Heatmap of a sensitivity profile: layers down, choices across; and how well single losses add up. As HTML and as PNG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from autocomp.choice import DEFAULTS, Configuration
from autocomp.files import new_file
from autocomp.sensitivity import HOWS, Floats, Sensitivity, changed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST = 1e-6  # nats; the colour of everything below, which rounding errors reach
BLUE, GREY, RED = "#2563eb", "#b4bac4", "#dc2626"
SCALE = "Reds"
Column = tuple[str, str, Any]


@dataclass(frozen=True, eq=False)
class Grid:
    """The losses of single choices as a table.

    Attributes:
        layers: rows (``l``), in execution order.
        columns: switch, how and value of each choice (``c``): one kind after the other, from mild to strong.
        losses: nats, ``l x c``; NaN where a layer does not have the choice, or it was not measured.
    """

    layers: tuple[str, ...]
    columns: tuple[Column, ...]
    losses: Floats

    @classmethod
    def of(cls, sensitivity: Sensitivity) -> Grid:
        """The table of everything that was measured alone."""
        cells = {_place(probe.configuration): probe.loss for probe in sensitivity.singles()}
        layers = tuple(dict.fromkeys(layer for layer, _ in cells))
        columns = tuple(sorted({column for _, column in cells}, key=_strength))
        losses = np.array([[cells.get((layer, column), np.nan) for column in columns] for layer in layers])
        return cls(layers, columns, losses.reshape(len(layers), len(columns)))

    @property
    def titles(self) -> list[str]:
        """The columns in words."""
        return [in_words(column) for column in self.columns]


def _place(single: Configuration) -> tuple[str, Column]:
    ((layer, switch),) = changed(single)
    choice = single[layer]
    return layer, (switch, getattr(choice, HOWS[switch]), getattr(choice, switch))


def _strength(column: Column) -> tuple[int, str, float]:
    switch, how, value = column
    return list(HOWS).index(switch), how, value if switch == "sparsity" else -value


def in_words(column: Column) -> str:
    """A choice without its layer, such as ``sparsity 0.5 filter``."""
    switch, how, value = column
    return f"{switch.replace('_', ' ')} {value:g}{way(switch, how)}"


def way(switch: str, how: str) -> str:
    """How something is done, to be put behind what is done; nothing where it is the usual way."""
    return f" {how}" if how != DEFAULTS[HOWS[switch]] else ""


def sensitivity_figure(sensitivity: Sensitivity) -> go.Figure:
    """Layers down, choices across, the logarithm of the loss as colour."""
    grid = Grid.of(sensitivity)
    shown = np.log10(np.maximum(grid.losses, LEAST))
    powers = np.arange(np.floor(np.nanmin(shown)), np.ceil(np.nanmax(shown)) + 1) if shown.size else np.zeros(1)
    heatmap = go.Heatmap(
        z=shown.tolist(),
        x=[escape(title) for title in grid.titles],
        y=[escape(layer) for layer in grid.layers],
        customdata=grid.losses.tolist(),
        colorscale=SCALE,
        xgap=1,
        ygap=1,
        hovertemplate="%{y}, %{x}: %{customdata:.3~g} nats<extra></extra>",
        colorbar={"title": "nats", "tickvals": powers.tolist(), "ticktext": [f"{10**power:g}" for power in powers]},
    )
    figure = _plain(go.Figure(heatmap), height=200 + 24 * len(grid.layers))
    return figure.update_yaxes(autorange="reversed", type="category").update_xaxes(type="category", tickangle=-60)


def interaction_figure(sensitivity: Sensitivity) -> go.Figure:
    """What mixtures cost against the sum of what their choices cost alone; on the line nothing interacts."""
    figure = go.Figure()
    for name, colour, expected, measured in _clouds(sensitivity):
        marker = {"color": colour, "size": 8}
        figure.add_trace(go.Scatter(name=name, x=expected.tolist(), y=measured.tolist(), mode="markers", marker=marker))
    ends = _ends(sensitivity)
    figure.add_trace(go.Scatter(name="no interaction", x=ends, y=ends, mode="lines", line={"color": GREY, "dash": "dot"}))
    figure.update_xaxes(type="log", title_text="sum of single losses (nats)").update_yaxes(type="log", title_text="measured loss (nats)")
    return _plain(figure, height=420)


def write_page(path: Path, sensitivity: Sensitivity, *, title: str) -> None:
    """Both figures as a page that opens offline."""
    figures = [sensitivity_figure(sensitivity), interaction_figure(sensitivity)]
    bodies = [figure.to_html(full_html=False, include_plotlyjs=first) for figure, first in zip(figures, (True, False), strict=True)]
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title></head>'
    look = "max-width: 1200px; margin: 24px auto; font-family: system-ui, sans-serif; color: #1f2937"
    words = f"<h1>{escape(title)}</h1><p>{escape(in_one_line(sensitivity))}</p>{bodies[0]}<h2>Together</h2>{bodies[1]}"
    with new_file(path) as part:
        part.write_text(f'{head}<body style="{look}">{words}</body></html>\n', encoding="utf-8")


def in_one_line(sensitivity: Sensitivity) -> str:
    """How much was measured, and how well single losses rank mixtures."""
    singles, mixtures = len(sensitivity.singles()), len(sensitivity.mixtures())
    correlation = sensitivity.rank_correlation()
    text = f"{singles} single choices and {mixtures} mixtures on {sensitivity.images} images; loss is the KL divergence from the teacher"
    return text + (f"; the sums of single losses rank mixtures with a Spearman correlation of {correlation:.3f}." if correlation else ".")


def write_picture(path: Path, sensitivity: Sensitivity, *, title: str) -> None:
    """Both figures side by side as a PNG file."""
    with new_file(path) as part:
        _picture(sensitivity, title).savefig(part, format="png", dpi=120)


def _picture(sensitivity: Sensitivity, title: str) -> Figure:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    grid = Grid.of(sensitivity)
    wide, high = 0.25 * len(grid.columns) + 2.5, 0.25 * len(grid.layers) + 3.0
    figure = Figure(figsize=(wide + 5.5, max(high, 5.0)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[wide, 5.0])
    left.set_facecolor("#e5e7eb")
    most = max([10 * LEAST, *grid.losses[~np.isnan(grid.losses)].tolist()])
    shown = np.ma.masked_invalid(np.maximum(grid.losses, LEAST))
    drawn = left.pcolormesh(shown, norm=LogNorm(LEAST, most), cmap=SCALE, edgecolors="white")
    left.invert_yaxis()
    left.set_xticks(np.arange(len(grid.columns)) + 0.5, grid.titles, rotation=60, ha="right", fontsize=8)
    left.set_yticks(np.arange(len(grid.layers)) + 0.5, grid.layers, fontsize=8)
    left.set_title(f"{title}: loss of each choice alone", fontsize=10)
    figure.colorbar(drawn, ax=left, label="nats per image")
    for name, colour, expected, measured in _clouds(sensitivity):
        right.scatter(expected, measured, s=16, color=colour, label=name)
    right.plot(_ends(sensitivity), _ends(sensitivity), color=GREY, linestyle=":", label="no interaction")
    right.set(xscale="log", yscale="log", xlabel="sum of single losses (nats)", ylabel="measured loss (nats)")
    correlation = sensitivity.rank_correlation()
    right.set_title("together" + (f", Spearman {correlation:.3f}" if correlation else ""), fontsize=10)
    right.legend(fontsize=8)
    return figure


def _clouds(sensitivity: Sensitivity) -> list[tuple[str, str, Floats, Floats]]:
    """Name, colour, sums of single losses and measured losses, of pairs and of larger mixtures."""
    kinds = (("pairs", BLUE, sensitivity.interaction(most=2)), ("mixtures", RED, sensitivity.interaction(least=3)))
    return [(name, colour, np.maximum(expected, LEAST), np.maximum(measured, LEAST)) for name, colour, (expected, measured) in kinds]


def _ends(sensitivity: Sensitivity) -> list[float]:
    """The smallest and largest loss that is drawn."""
    values = np.maximum(np.concatenate(sensitivity.interaction()), LEAST)
    return [float(values.min()), float(values.max())] if len(values) else [LEAST, 1.0]


def _plain(figure: go.Figure, *, height: int) -> go.Figure:
    return figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1f2937"},
    )
