"""A product's own search as part of a benchmark."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def searched(run: Path, *arguments: str) -> dict[str, Any]:
    """The summary of a search into a run folder, which is made, resumed, or only read where the run has ended.

    Args:
        run: the folder.
        arguments: of ``autocomp search``.
    """
    if not (run / "summary.json").exists():
        asked = ("resume", str(run)) if run.exists() else ("search", *arguments, "--out", str(run))
        subprocess.run([sys.executable, "-m", "autocomp.cli", *asked], check=True)
    return dict(json.loads((run / "summary.json").read_text(encoding="utf-8")))
