"""Figures of a run: the front, its growth, and what it does to each layer; and of an exploration of designs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from autocomp.card import METRICS, in_reading_order, in_words, show, title
from autocomp.choice import DEFAULTS, DEVICE, KNOBS, SWITCHES, Choice, Configuration
from autocomp.exploration import Exploration
from autocomp.objective import MEASURED_METRICS
from autocomp.outcome import Outcome
from autocomp.pareto import ParetoFront
from autocomp.trial import Status

GREY, BLUE, ORANGE, GREEN = "#b4bac4", "#2563eb", "#ea580c", "#059669"
LOG_TICKS = [digit * 10.0**power for power in range(-6, 10) for digit in (1, 2, 5)]
HOVER_LAYERS = 20  # more lines would not fit on a screen
MOST_POINTS = 4000  # of a cloud; a browser draws these at once
Point = tuple[str, Mapping[str, float], Configuration]


def front_figure(outcome: Outcome) -> go.Figure:
    """Quality against every cost of the search, a panel each: all trials, the front, the best of it and the teacher."""
    goals = [o.metric for o in outcome.objectives if o.optimised]
    quality = next((metric for metric in goals if metric in MEASURED_METRICS), goals[0])
    costs = [metric for metric in goals if metric != quality] or [quality]
    figure = make_subplots(1, len(costs), shared_yaxes=True, horizontal_spacing=0.03)
    for column, cost in enumerate(costs, 1):
        for trace in _front_traces(outcome, cost, quality):
            figure.add_trace(trace.update(showlegend=column == 1), 1, column)
        figure.update_xaxes(title_text=_axis(cost), type="log", tickvals=LOG_TICKS, row=1, col=column)
    figure.update_yaxes(title_text=_axis(quality), col=1)
    return _plain(figure, height=460)


def hypervolume_figure(outcome: Outcome) -> go.Figure:
    """The volume that the front covers, after each trial."""
    front = ParetoFront(outcome.objectives)
    volumes: list[float] = []
    for trial in outcome.trials:
        grew = front.add(trial)
        volumes.append(front.hypervolume(outcome.reference, outcome.baseline) if grew or not volumes else volumes[-1])
    line = go.Scatter(x=list(range(1, len(volumes) + 1)), y=volumes, mode="lines", line={"shape": "hv", "color": BLUE}, name="hypervolume")
    return _plain(go.Figure(line), height=300).update_xaxes(title_text="trials ended").update_yaxes(title_text="hypervolume")


def layers_figure(outcome: Outcome) -> go.Figure:
    """What the front does to each layer: a panel for each knob in use, layers down, members from frugal to accurate across."""
    members = sorted(outcome.front, key=lambda m: m.metrics["accuracy"])
    configurations = [member.trial.configuration for member in members]
    layers = list(dict.fromkeys(layer for c in configurations for layer in c))
    knobs = [k for k in SWITCHES.values() if any(getattr(choice, k) != DEFAULTS[k] for c in configurations for choice in c.values())]
    figure = make_subplots(
        1, max(len(knobs), 1), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=[k.replace("_", " ") for k in knobs]
    )
    for column, knob in enumerate(knobs, 1):
        values = [[getattr(c.choice(layer), knob) for c in configurations] for layer in layers]
        names = [f"trial {member.trial.id}" for member in members]
        figure.add_trace(_heatmap(values, names, layers, darker_is_more=knob == "sparsity"), 1, column)
    figure.update_yaxes(autorange="reversed").update_xaxes(type="category", tickangle=-60)
    return _plain(figure, height=160 + 24 * len(layers))


def designs_figure(exploration: Exploration, heading: str) -> go.Figure:
    """The first objective against every other one, a panel each: designs that fit, the front, and the device as it is."""
    first, *others = exploration.objectives
    panels = others or [first]
    figure = make_subplots(1, len(panels), horizontal_spacing=0.08)
    fitting = [place for place, fits in enumerate(exploration.feasible.tolist()) if fits]
    places = {"dominated": fitting[:: -(-len(fitting) // MOST_POINTS)], "front": exploration.front}
    looks = {"dominated": {"color": GREY, "size": 5}, "front": {"color": BLUE, "size": 10}}
    for column, other in enumerate(panels, 1):
        for name, members in places.items():
            values = [[exploration.figures[metric][place] for place in members] for metric in (first, other)]
            hover = [_hover_design(exploration, place) for place in members]
            figure.add_trace(_cloud(name, values, (first, other), hover, looks[name]).update(showlegend=column == 1), 1, column)
        own = [[exploration.own[metric]] for metric in (first, other)]
        star = _cloud("as it is", own, (first, other), ["<b>the device as it is</b>"], {"color": GREEN, "size": 15, "symbol": "star"})
        figure.add_trace(star.update(showlegend=column == 1), 1, column)
        figure.update_xaxes(title_text=_axis(first), type="log", tickvals=LOG_TICKS, row=1, col=column)
        figure.update_yaxes(title_text=_axis(other), type="log", tickvals=LOG_TICKS, row=1, col=column)
    return _plain(figure, height=520).update_layout(title_text=heading, margin_t=90)


def _cloud(name: str, values: list[list[float]], metrics: tuple[str, str], hover: list[str], marker: dict[str, Any]) -> go.Scatter:
    x, y = ([_scaled(metric, {metric: value}) for value in column] for metric, column in zip(metrics, values, strict=True))
    return go.Scatter(name=name, legendgroup=name, x=x, y=y, mode="markers", marker=marker, hovertext=hover, hoverinfo="text")


def _hover_design(exploration: Exploration, place: int) -> str:
    design = exploration.design(place)
    parameters = [f"{escape(key)} {escape(str(value))}" for key, value in design["parameters"].items()]
    prices = [f"{title(name)} {show(name, design[name])}" for name in in_reading_order(METRICS) if design.get(name)]
    needs = [f"{need['used']:,.0f} of {need['limit']:,.0f} {escape(name)}" for name, need in design["resources"].items()]
    return "<br>".join([f"<b>{', '.join(parameters)}</b>", *prices, *needs])


def _heatmap(values: list[list[float]], names: list[str], layers: list[str], *, darker_is_more: bool) -> go.Heatmap:
    """The stronger the compression, the darker the cell."""
    scale = "Blues" if darker_is_more else "Blues_r"
    hover = "%{y}, %{x}: %{z}<extra></extra>"
    look = {
        "colorscale": scale,
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": hover,
        "texttemplate": "%{z:.3~g}",
        "textfont": {"size": 11},
    }
    return go.Heatmap(z=values, x=names, y=layers, **look)


def _front_traces(outcome: Outcome, cost: str, quality: str) -> list[go.Scatter]:
    on_front = {member.trial.id for member in outcome.front}
    ended: dict[Status, list[Point]] = {Status.COMPLETE: [], Status.PRUNED: []}
    for trial in outcome.trials:
        if trial.status in ended and trial.id not in on_front:
            ended[trial.status].append((f"trial {trial.id}", trial.metrics, trial.configuration))
    front: list[Point] = [(f"trial {m.trial.id}", m.metrics, m.trial.configuration) for m in outcome.front]
    best = [point for member, point in zip(outcome.front, front, strict=True) if member.trial.id == outcome.best]
    front.sort(key=lambda point: point[1][cost])
    rows: Sequence[tuple[str, Iterable[Point], dict[str, Any]]] = (
        ("stopped early", ended[Status.PRUNED], {"color": GREY, "size": 6, "symbol": "x-thin-open"}),
        ("dominated", ended[Status.COMPLETE], {"color": GREY, "size": 7}),
        ("front", front, {"color": BLUE, "size": 10}),
        ("best", best, {"color": ORANGE, "size": 20, "symbol": "circle-open", "line": {"width": 3}}),
        ("teacher", [("teacher", outcome.baseline, Configuration({}))], {"color": GREEN, "size": 15, "symbol": "star"}),
    )
    return [_scatter(name, points, marker, cost, quality) for name, points, marker in rows if points]


def _scatter(name: str, points: Iterable[Point], marker: dict[str, Any], cost: str, quality: str) -> go.Scatter:
    chosen = list(points)
    return go.Scatter(
        name=name,
        legendgroup=name,
        x=[_scaled(cost, metrics) for _, metrics, _ in chosen],
        y=[_scaled(quality, metrics) for _, metrics, _ in chosen],
        mode="markers",
        marker=marker,
        hovertext=[_hover(*point) for point in chosen],
        hoverinfo="text",
    )


def _hover(name: str, metrics: Mapping[str, float], configuration: Configuration) -> str:
    figures = [f"{title(m)} {show(m, metrics[m])}" for m in in_reading_order(metrics) if m in METRICS]
    layers = [f"{escape(layer)}: {describe(choice)}" for layer, choice in configuration.items()]
    more = [f"and {len(layers) - HOVER_LAYERS} more layers"] if len(layers) > HOVER_LAYERS else []
    device = [f"{DEVICE}: {escape(in_words(configuration.device))}"] if configuration.device else []
    return "<br>".join([f"<b>{name}</b>", *figures, "", *layers[:HOVER_LAYERS], *more, *device])


def describe(choice: Choice) -> str:
    """A choice in a few words, such as ``sparsity 0.5 fine, weight bits 4``."""
    how = {switch: name for name, switch in SWITCHES.items() if not name.endswith("quantizer")}
    words = []
    for knob in KNOBS:
        if knob in SWITCHES.values() and getattr(choice, knob) != DEFAULTS[knob]:
            words.append(f"{knob.replace('_', ' ')} {getattr(choice, knob)} {getattr(choice, how[knob]) if knob in how else ''}".strip())
    return ", ".join(words)


def _scaled(metric: str, metrics: Mapping[str, float]) -> float:
    return metrics[metric] * (METRICS[metric][1] if metric in METRICS else 1)


def _axis(metric: str) -> str:
    return f"{title(metric)} ({show(metric, 0).split()[-1]})" if " " in show(metric, 0) else title(metric)


def _plain(figure: go.Figure, *, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        height=height,
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        legend={"orientation": "h", "y": 1.12},
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#1f2937"},
        hoverlabel={"align": "left", "bgcolor": "white"},
    )
    return figure
