"""The model card: what a compressed network is, how good it is, and how to use it, for a reader without autocomp.

A record is what is known about an exported network, as plain JSON data:

    name, version          of the registered model; of autocomp
    task, hw               names
    data                   what rebuilds the task
    trial, seed            numbers
    input_shape            of one input, without the batch axis
    mean, std              per channel; the network takes ``(pixel / 255 - mean) / std``
    metrics, teacher       by name; the teacher's are of the network before compression
    configuration          `Configuration.flatten`
    config                 settings of the run
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from autocomp.choice import DEFAULTS, KNOBS, Configuration

METRICS: Mapping[str, tuple[str, float, str]] = {  # metric -> (what a reader calls it, factor, format)
    "test_accuracy": ("Accuracy, test", 100, "{:.2f} %"),
    "accuracy": ("Accuracy, validation", 100, "{:.2f} %"),
    "accuracy_std": ("Spread of the accuracy over devices", 100, "{:.2f} %"),
    "loss": ("Loss, validation", 1, "{:.4f}"),
    "latency_s": ("Latency", 1e6, "{:,.1f} µs"),
    "energy_j": ("Energy", 1e6, "{:,.2f} µJ"),
    "area_mm2": ("Area", 1, "{:,.4g} mm²"),
    "size_bytes": ("Weights", 1e-3, "{:,.1f} kB"),
    "macs": ("Multiply-accumulates", 1e-6, "{:,.3f} M"),
    "params": ("Nonzero weights", 1, "{:,.0f}"),
}


def show(metric: str, value: float) -> str:
    """A metric's value for a reader, with its unit."""
    _, factor, form = METRICS.get(metric, (metric, 1, "{:.4g}"))
    return form.format(value * factor)


def title(metric: str) -> str:
    """A metric's name for a reader."""
    return METRICS[metric][0] if metric in METRICS else metric


def in_reading_order(metrics: Iterable[str]) -> list[str]:
    """The metric names, the important first, unknown ones last."""
    order = list(METRICS)
    return sorted(metrics, key=lambda name: (order.index(name) if name in order else len(order), name))


def model_card(record: Mapping[str, Any]) -> str:
    """The card of a record, as Markdown with YAML front matter."""
    configuration = Configuration.unflatten(record["configuration"])
    front_matter = yaml.safe_dump(_front_matter(record), sort_keys=False, allow_unicode=True)
    return f"""---
{front_matter}---

# {record["name"]}, trial {record["trial"]}

A network for the task `{record["task"]}`, compressed by autocomp {record["version"]} for the hardware `{record["hw"]}`.
Latency and energy are estimates of the hardware model for one input.

{_table(("", "this network", "teacher", "ratio"), _metric_rows(record))}

## Use

```python
import torch

network = torch.export.load("model.pt2").module()
x = torch.zeros(1, {", ".join(map(str, record["input_shape"]))})  # (pixels / 255 - mean) / std
with torch.inference_mode():
    scores = network(x)
```

Any batch size will do. Preprocessing per channel: mean {record["mean"]}, std {record["std"]}.
`weights.safetensors` holds the same weights by name; `configuration.json` holds this card's figures and every setting of
the run. `autocomp evaluate .` measures the test accuracy again.

## What was done to each layer

{_layers(configuration)}
{_device(configuration)}"""


def _front_matter(record: Mapping[str, Any]) -> dict[str, Any]:
    metrics = record["metrics"]
    results = [{"type": name, "value": metrics[name]} for name in in_reading_order(metrics)]
    return {
        "library_name": "pytorch",
        "tags": ["autocomp", "model-compression", record["hw"]],
        "model-index": [{"name": record["name"], "results": [{"dataset": {"name": record["task"]}, "metrics": results}]}],
    }


def _metric_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name in in_reading_order(record["metrics"]):
        value, teacher = record["metrics"][name], record["teacher"].get(name)
        beside = ("", "") if not teacher else (show(name, teacher), f"{value / teacher:.3f}")
        rows.append((title(name), show(name, value), *beside))
    return rows


def in_words(device: Mapping[str, Any]) -> str:
    """Parameters of a device in a few words, such as ``rows 16, dataflow os``."""
    return ", ".join(f"{parameter.replace('_', ' ')} {value}" for parameter, value in device.items())


def _device(configuration: Configuration) -> str:
    """A section about the device, where a search decided on it."""
    if not configuration.device:
        return ""
    rows = [(parameter, str(value)) for parameter, value in configuration.device.items()]
    return f"\n## The device that it was designed with\n\n{_table(('parameter', 'value'), rows)}\n"


def _layers(configuration: Configuration) -> str:
    used = [knob for knob in KNOBS if any(getattr(choice, knob) != DEFAULTS[knob] for choice in configuration.values())]
    if not used:
        return "Nothing."
    rows = [(layer, *(str(getattr(choice, knob)) for knob in used)) for layer, choice in sorted(configuration.items())]
    return _table(("layer", *(knob.replace("_", " ") for knob in used)), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
