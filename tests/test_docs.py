"""What README and the pages under docs/ say is so: settings exist, and tables hold what the code computes now."""

from __future__ import annotations

import re
import runpy
from functools import reduce
from pathlib import Path

import pytest

from autocomp.cli.composing import ConfigTree
from autocomp.cli.overrides import parsed

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SETTING = re.compile(
    r"(?<![\w.+])((?:searcher|finetune|profile|best|early_stopping|space|task|student|pruning|factorization)\.[\w.]+)=([\w.%/-]+)"
)
NEEDED = {  # for settings that not every search has
    "searcher.preset": ["searcher=rl"],
    "student.options.width": ["student.model=resnet20"],
    "task": ["task=cifar10", "task.data=x"],
}


def written() -> set[str]:
    """Every setting with a simple value that a page names."""
    pages = [ROOT / "README.md", *DOCS.glob("*.md"), *(ROOT / "search_spaces").rglob("*.yaml")]
    return {"=".join(found) for page in pages for found in SETTING.findall(page.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("setting", sorted(written()))
def test_a_setting_that_a_page_names_can_be_set(setting: str) -> None:
    key = setting.partition("=")[0]
    composed = ConfigTree().compose([*NEEDED.get(key, NEEDED.get(key.partition(".")[0], [])), setting])
    found = reduce(lambda node, part: node[part], key.split("."), composed)
    assert found == parsed([setting])[0].value()


def test_the_tables_of_the_hardware_page_are_those_of_this_code() -> None:
    pytest.importorskip("matplotlib", reason="the script draws, too")
    script = runpy.run_path(str(DOCS / "hardware.py"))
    page = (DOCS / "hardware.md").read_text(encoding="utf-8")
    comparisons = script["compare"](script["published_rows"]())
    for content in (script["tables"](comparisons), script["devices"](), script["fitted"]()):
        assert content in page, "run `python docs/hardware.py`"
