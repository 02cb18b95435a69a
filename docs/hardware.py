"""Redraw the plot and rewrite the tables of docs/hardware.md: `python docs/hardware.py`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from hwmodels import device_description, device_names
from hwmodels.validation import Agreement, Comparison, agreement, compare, grouped, published_rows

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
PAGE, PLOT = HERE / "hardware.md", HERE / "hardware_validation.png"
MARK = "<!-- docs/hardware.py: {part} {edge} -->"
# A paper ("Shafiee et al., ISCA 2016") or a data sheet ("Xilinx DS890") in the comments of a device file.
SOURCE = re.compile(
    r"[A-Z][\w-]+ (?:et al\.|and [A-Z]\w+),? [^;():#\n]*?(?:\d{4}|arXiv:[\d.]+)|(?:Xilinx|Intel) DS\d+|\w+/yolov2_xilinx_fpga"
)
COLOURS = {"fpga": "tab:blue", "asic": "tab:orange", "rram": "tab:green"}
NAMES = {"fpga": "FPGA", "asic": "ASIC", "rram": "RRAM"}
HEAD = ("rows", "mean error", "worst", "Kendall tau")
FITTED = re.compile(r"(\w+): *(\S+) *# *(.*\bfitted\b.*)")


def draw(comparisons: Sequence[Comparison], target: Path) -> None:
    """Left, all figures in their own units; right, the quotient of each, a line per system. Hollow where only recalled."""
    systems = grouped(comparisons, lambda c: (c.row.family, c.row.system))
    figure, (plane, strip) = plt.subplots(1, 2, figsize=(11, 2 + 0.19 * len(systems)), width_ratios=(1.1, 1), layout="constrained")
    for family, colour in COLOURS.items():
        members = [c for c in comparisons if c.row.family == family]
        _points(plane, [(c.row.value, c.modelled or 0.0, c.row.confirmed) for c in members], colour)
        plane.scatter([], [], color=colour, label=NAMES[family])
    ends = [min(c.row.value for c in comparisons) / 2, max(c.row.value for c in comparisons) * 2]
    plane.plot(ends, ends, color="0.3", linewidth=0.8)
    for factor in (0.5, 2.0):
        plane.plot(ends, [factor * end for end in ends], color="0.6", linewidth=0.8, linestyle="--")
    plane.set(xscale="log", yscale="log", xlabel="measured, in the row's unit", ylabel="modelled, in the same unit")
    plane.legend(loc="upper left")
    for height, ((family, _), members) in enumerate(systems.items()):
        _points(strip, [(c.modelled / c.row.value, height, c.row.confirmed) for c in members if c.modelled], COLOURS[family])
    for factor, style in ((1.0, "-"), (0.5, "--"), (2.0, "--")):
        strip.axvline(factor, color="0.5", linewidth=0.8, linestyle=style)
    strip.set(xscale="log", xlabel="modelled / measured", yticks=range(len(systems)))
    strip.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    strip.xaxis.set_major_formatter("{x:g}")
    strip.xaxis.set_minor_locator(NullLocator())
    strip.set_yticklabels([system for _, system in systems], fontsize=7)
    strip.invert_yaxis()
    for axis in (plane, strip):
        axis.grid(alpha=0.3)
    figure.savefig(target, dpi=110)


def _points(axis: Axes, points: Iterable[tuple[float, float, bool]], colour: str) -> None:
    for x, y, confirmed in points:
        axis.scatter(x, y, s=16, linewidth=0.8, edgecolor=colour, facecolor=colour if confirmed else "none")


def tables(comparisons: Sequence[Comparison]) -> str:
    """Everything between the markers: summaries of families and systems, each row, and what could not be recomputed."""
    families = grouped(comparisons, lambda c: c.row.family)
    parts = [_summary("family", ((NAMES[name], agreement(members)) for name, members in families.items()))]
    for name, members in families.items():
        systems = grouped(members, lambda c: (c.row.system, c.row.metric, c.row.unit))
        found = ((f"{system} | {metric}, {unit}", agreement(rows)) for (system, metric, unit), rows in systems.items())
        parts.append(f"### {NAMES[name]}\n\n" + _summary("system | figure", (item for item in found if item[1].rows)))
        parts.append(_details("Every row", _rows(members)))
        parts.append(_details("What could not be recomputed, and why", _skipped(members)))
    return "\n\n".join(parts)


def _summary(first: str, found: Iterable[tuple[str, Agreement]]) -> str:
    body = []
    for name, a in found:
        tau = "" if a.kendall_tau is None else f"{a.kendall_tau:.3f}"
        body.append(f"| {name} | {a.rows} | {_percent(a.mean_abs_error)} | {_percent(a.worst)} | {tau} |")
    return _markdown(f"| {first} | {' | '.join(HEAD)} |", body)


def _rows(members: Iterable[Comparison]) -> str:
    body = []
    for c in members:
        if c.modelled is not None and c.relative_error is not None:
            row = c.row
            known = "" if row.confirmed else " (recalled)"
            what = " ".join(part for part in (row.network, row.layer) if part not in {"", "-"})
            figures = f"{row.value:.5g}{known} | {c.modelled:.5g} | {row.unit} | {100 * c.relative_error:+.1f} %"
            body.append(f"| {row.id} | {row.system} | {what} | {row.metric} | {figures} |")
    return _markdown("| id | system | network, layer | metric | measured | modelled | unit | error |", body)


def _skipped(members: Iterable[Comparison]) -> str:
    groups = grouped((c for c in members if c.modelled is None), lambda c: (c.row.system, c.skipped_reason))
    body = [f"| {system} | {len(rows)} | {reason.replace('|', '/')} |" for (system, reason), rows in groups.items()]
    return _markdown("| system | rows | reason |", body)


def _markdown(head: str, body: Iterable[str]) -> str:
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *body])


def _details(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def devices() -> str:
    """Every shipped device by family, with the papers and data sheets that its file names."""
    body = []
    for name, family in sorted(device_names().items(), key=lambda item: item[::-1]):
        sources = "; ".join(dict.fromkeys(SOURCE.findall(_device_file(name))))
        body.append(f"| {family} | [`{name}`](../hwmodels/devices/{name}.yaml) | {device_description(name)} | {sources} |")
    return _markdown("| family | device | | sources |", body)


def fitted() -> str:
    """Every constant whose comment says that it was fitted, and to what."""
    body = []
    for name in device_names():
        for line in _device_file(name).splitlines():
            found = FITTED.match(line)
            if found:
                key, value, remark = found.groups()
                body.append(f"| `{name}` | `{key}` | {value} | {remark.replace('|', '/')} |")
    return _markdown("| device | constant | value | remark in the file |", body)


def _device_file(name: str) -> str:
    return resources.files("hwmodels").joinpath("devices", f"{name}.yaml").read_text(encoding="utf-8")


def _put(page: str, part: str, content: str) -> str:
    """The page with something else between two marks."""
    begin, end = (MARK.format(part=part, edge=edge) for edge in ("begin", "end"))
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    """Both files, in place."""
    comparisons = compare(published_rows())
    draw([c for c in comparisons if c.modelled is not None], PLOT)
    page = PAGE.read_text(encoding="utf-8")
    for part, content in (("validation", tables(comparisons)), ("devices", devices()), ("fitted", fitted())):
        page = _put(page, part, content)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
