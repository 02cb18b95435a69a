"""The pages under docs/ that a script writes hold what the code computes now."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def test_the_tables_of_the_hardware_page_are_those_of_this_code() -> None:
    pytest.importorskip("matplotlib", reason="the script draws, too")
    script = runpy.run_path(str(DOCS / "hardware.py"))
    page = (DOCS / "hardware.md").read_text(encoding="utf-8")
    comparisons = script["compare"](script["published_rows"]())
    for content in (script["tables"](comparisons), script["devices"](), script["fitted"]()):
        assert content in page, "run `python docs/hardware.py`"
