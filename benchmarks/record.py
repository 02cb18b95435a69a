"""Where benchmark figures go: one small JSON file each, with the machine that they were measured on."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }


def record(name: str, figures: Mapping[str, Any]) -> None:
    """Write figures and machine to ``results/<name>.json`` and to the terminal."""
    text = json.dumps({"figures": figures, "machine": machine()}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{name}: {json.dumps(figures, indent=2)}")  # noqa: T201 the one place that a benchmark prints
