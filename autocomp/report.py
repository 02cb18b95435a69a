"""Report: one run as a page that opens offline in any browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

import plotly.graph_objects as go
import yaml

from autocomp.card import METRICS, in_reading_order, in_words, show, title
from autocomp.choice import DEVICE
from autocomp.figures import describe, front_figure, hypervolume_figure, layers_figure
from autocomp.files import new_file
from autocomp.heatmap import in_one_line, interaction_figure, sensitivity_figure
from autocomp.outcome import FrontMember, Outcome
from autocomp.sensitivity import Sensitivity
from autocomp.trial import Status

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$name</title>
<style>
body { margin: 0; background: #f5f6f8; color: #1f2937; font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { margin: 0; font-size: 26px; } h2 { margin: 0 0 8px; font-size: 17px; }
.lead { margin: 4px 0 20px; color: #6b7280; }
section { background: #fff; border: 1px solid #e5e7eb; border-radius: 10px; padding: 16px 20px; margin-top: 16px; overflow-x: auto; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px; }
.card { background: #fff; border: 1px solid #e5e7eb; border-radius: 10px; padding: 12px 16px; }
.card span { display: block; color: #6b7280; font-size: 13px; } .card b { font-size: 21px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { color: #6b7280; font-weight: 600; font-size: 13px; } td, th { padding: 6px 10px; text-align: left; border-bottom: 1px solid #eef0f3; }
.numbers :is(td, th):not(:first-child) { text-align: right; } tr.best td { background: #fff4ec; font-weight: 600; }
summary { cursor: pointer; font-weight: 600; } pre { font-size: 13px; white-space: pre-wrap; }
</style>
</head>
<body><main>
<h1>$name</h1>
<p class="lead">$lead</p>
<div class="cards">$cards</div>
$trust
$sections
</main></body>
</html>
""")


def write_report(path: Path, outcome: Outcome) -> None:
    """Write the report; the file appears whole or not at all. It holds plotly itself, 4.8 MB, and needs no network."""
    sections = [
        _section("The front", _figure(front_figure(outcome), with_library=True) + _front_table(outcome)),
        _section("Hypervolume", _figure(hypervolume_figure(outcome))),
        _section("What the front does to each layer", _figure(layers_figure(outcome))) if outcome.front else "",
        _best_layers(outcome.recommended) if outcome.recommended else "",
        _sensitivity(outcome.sensitivity) if outcome.sensitivity else "",
        _section("Trials", _status_table(outcome)),
        _section("", f"<details><summary>Settings</summary><pre>{_settings(outcome)}</pre></details>"),
    ]
    page = PAGE.substitute(
        name=escape(outcome.name), lead=_lead(outcome), cards=_cards(outcome), trust=_trust(outcome), sections="\n".join(sections)
    )
    with new_file(path) as part:
        part.write_text(page, encoding="utf-8")


def _lead(outcome: Outcome) -> str:
    wanted = [f"{o.direction} {title(o.metric).lower()}" for o in outcome.objectives if o.optimised]
    limits = [f"{title(o.metric).lower()} limit {show(o.metric, o.limit)}" for o in outcome.objectives if o.limit is not None]
    return escape(f"{len(outcome.trials)} trials, {len(outcome.front)} on the front; searched for {', '.join([*wanted, *limits])}.")


def _cards(outcome: Outcome) -> str:
    """The best member beside the teacher."""
    best = outcome.recommended
    if best is None:
        return '<div class="card">No trial met every limit, so there is no front.</div>'
    cards = [("Best", f"trial {best.trial.id}", f"of {len(outcome.front)} on the front")]
    for name in in_reading_order({"test_accuracy", *(o.metric for o in outcome.objectives)}):
        if name in best.metrics and name in outcome.baseline:
            cards.append((title(name), show(name, best.metrics[name]), f"teacher {show(name, outcome.baseline[name])}"))
    return "".join(f'<div class="card"><span>{a}</span><b>{b}</b><span>{c}</span></div>' for a, b, c in cards)


def _trust(outcome: Outcome) -> str:
    """How far the prices may be from the truth; nothing where that is not known."""
    factors = [f"{factor:.3g} ({what})" for what, factor in outcome.uncertainty.items()]
    if not factors:
        return ""
    text = f"Prices are those of {outcome.hardware}; nine of ten published figures of its family lie within a factor {', '.join(factors)}."
    return f'<p class="lead">{escape(text)}</p>'


def _front_table(outcome: Outcome) -> str:
    names = in_reading_order({name for member in outcome.front for name in member.metrics if name in METRICS})
    has_designs = any(member.trial.configuration.device for member in outcome.front)
    own = ["as it is"] if has_designs else []
    rows = [("teacher", [*(show(n, outcome.baseline[n]) if n in outcome.baseline else "" for n in names), *own], "")]
    for member in sorted(outcome.front, key=lambda m: -m.metrics["accuracy"]):
        values = [show(n, member.metrics[n]) if n in member.metrics else "" for n in names]
        values += [in_words(member.trial.configuration.device)] if has_designs else []
        rows.append((f"trial {member.trial.id}", values, "best" if member.trial.id == outcome.best else ""))
    return (
        _table(
            ["", *map(title, names), *["Device" for _ in range(has_designs)]],
            [([first, *values], mark) for first, values, mark in rows],
            "numbers",
        )
        if names
        else ""
    )


def _best_layers(best: FrontMember) -> str:
    configuration = best.trial.configuration
    rows = [([layer, describe(choice)], "") for layer, choice in configuration.items()]
    rows += [([DEVICE, in_words(configuration.device)], "")] if configuration.device else []
    return _section(f"Trial {best.trial.id}, the best", _table(["layer", "choice"], rows))


def _sensitivity(sensitivity: Sensitivity) -> str:
    """What was measured before the first trial."""
    figures = _figure(sensitivity_figure(sensitivity)) + (_figure(interaction_figure(sensitivity)) if sensitivity.mixtures() else "")
    return _section("What each choice costs alone, without training", f"<p>{escape(in_one_line(sensitivity))}</p>{figures}")


def _status_table(outcome: Outcome) -> str:
    """How many trials ended how, and the most frequent reason where there is one."""
    rows = []
    for status in Status:
        reasons = [trial.reason for trial in outcome.trials if trial.status is status]
        if reasons:
            often = Counter(reason for reason in reasons if reason).most_common(1)
            rows.append(([status.lower(), str(len(reasons)), often[0][0] if often else ""], ""))
    return _table(["status", "trials", "most frequent reason"], rows)


def _settings(outcome: Outcome) -> str:
    return escape(yaml.safe_dump(dict(outcome.config), sort_keys=False, allow_unicode=True))


def _section(heading: str, body: str) -> str:
    return f"<section>{f'<h2>{escape(heading)}</h2>' if heading else ''}{body}</section>"


def _table(head: Iterable[str], rows: Iterable[tuple[Sequence[str], str]], look: str = "words") -> str:
    """Rows of cells, each with a class for its look; ``look`` is that of the table."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(f'<tr class="{mark}">{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>' for cells, mark in rows)
    return f'<table class="{look}"><tr>{top}</tr>{body}</table>'


def _figure(figure: go.Figure, *, with_library: bool = False) -> str:
    """A figure as HTML; one figure of a page brings the library."""
    markup: str = figure.to_html(full_html=False, include_plotlyjs=with_library, config={"displayModeBar": False, "responsive": True})
    return markup
