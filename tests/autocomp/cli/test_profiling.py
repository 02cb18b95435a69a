"""`autocomp profile` and what a search does with a profile, with a real Ray on the digits and a small space."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ray]

Autocomp = Callable[..., subprocess.CompletedProcess[str]]
SMALL = [
    *("task.epochs=2", "workers=1", "profile.images=64", "profile.mixtures=6", "profile.pairs=3"),
    "space.rules=[{match: '*', sparsity: [0, 0.5], pattern: [fine], weight_bits: [8, 3]}]",
]
SEARCH = ["trials=1", "finetune.epochs=0", "finetune.polish_epochs=0", "finetune.polish_members=1", "tracking.enabled=false"]
LAYERS = 9  # of the network for digits
SINGLES = LAYERS * (1 + 2)
KEYS = {
    *("name", "wall_s", "layers", "extremes", "accuracy", "images", "image_passes", "probes"),
    *("spent_passes", "failed", "rank_correlation", "out"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def printed(folder: Path, autocomp: Autocomp) -> str:
    """What the verb prints the first time."""
    done = autocomp(folder, "profile", "--out", "first", *SMALL)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def second(folder: Path, printed: str, autocomp: Autocomp) -> dict[str, Any]:
    """The same again, as JSON, for another device and searcher."""
    done = autocomp(folder, "profile", "--json", "--hw", "asic", "searcher=random", *SMALL)
    assert done.returncode == 0, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def test_the_table_names_every_layer_the_extremes_and_the_cost(folder: Path, printed: str) -> None:
    assert "layer2.1.conv2" in printed
    assert "sparsity fine" in printed
    assert "0.5: " in printed
    assert "Weight bits: most sensitive " in printed
    assert "Spearman correlation" in printed
    assert "Cost:" in printed
    assert "cache" not in printed
    probes = len(json.loads((folder / "first" / "profile.json").read_text())["probes"])
    assert SINGLES + 6 <= probes <= SINGLES + 9  # some of those drawn may be the same
    assert f"{probes} of {probes} probes" in printed


def test_the_folder_has_table_page_and_picture(folder: Path, printed: str) -> None:
    assert sorted(path.name for path in (folder / "first").iterdir()) == ["profile.html", "profile.json", "profile.png"]
    assert (folder / "first" / "profile.png").read_bytes().startswith(b"\x89PNG")
    assert "plotly.js v" in (folder / "first" / "profile.html").read_text()


def test_json_has_its_keys_and_losses_grow_with_strength(folder: Path, second: dict[str, Any]) -> None:
    assert set(second) == KEYS
    written = json.loads((folder / "first" / "profile.json").read_text())
    assert set(written) == KEYS
    rows = second["layers"]
    assert len(rows) == 2 * LAYERS
    assert {tuple(row) for row in rows} == {("layer", "knob", "how", "values", "losses")}
    for row in rows:
        assert row["values"] == ([8, 3] if row["knob"] == "weight_bits" else [0.5])
        assert row["losses"] == sorted(row["losses"])
    assert {tuple(row) for row in second["extremes"]} == {("knob", "how", "most_sensitive", "least_sensitive")}


def test_a_second_profile_for_another_device_comes_from_the_cache(folder: Path, second: dict[str, Any]) -> None:
    first = json.loads((folder / "first" / "profile.json").read_text())
    assert second["spent_passes"] == 0
    assert first["spent_passes"] == pytest.approx(first["image_passes"])
    assert second["probes"] == first["probes"]
    assert Path(second["out"]).parent == Path("runs")
    assert (folder / second["out"] / "profile.png").is_file()


def test_quiet_prints_only_the_result(folder: Path, printed: str, autocomp: Autocomp) -> None:
    done = autocomp(folder, "profile", "-q", "--out", "quiet", *SMALL)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["Sparsity fine", "Weight bits", "Together", "Cost", "Files"]


def test_a_space_without_choices_is_said_in_one_line(folder: Path, autocomp: Autocomp) -> None:
    done = autocomp(folder, "profile", "--out", "nothing", "task.epochs=2", "space.rules=[]")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not (folder / "nothing").exists()


@pytest.fixture(scope="module")
def searched(folder: Path, printed: str, autocomp: Autocomp) -> Path:
    done = autocomp(folder, "search", "--out", "run", "searcher=annealing", *SMALL, *SEARCH)
    assert done.returncode == 0, done.stderr
    assert "profiling" in done.stdout
    return folder / "run"


def test_a_search_takes_the_profile_from_the_cache_and_says_what_it_cost(folder: Path, searched: Path) -> None:
    first = json.loads((folder / "first" / "profile.json").read_text())
    record = json.loads((searched / "profile.json").read_text())
    summary = json.loads((searched / "summary.json").read_text())
    assert record["probes"] == first["probes"]
    assert record["spent_passes"] == 0
    assert summary["profile_passes"] == pytest.approx(first["image_passes"])
    assert "What each choice costs alone, without training" in (searched / "report.html").read_text()


def test_what_a_search_measures_itself_is_part_of_its_image_passes(folder: Path, searched: Path, autocomp: Autocomp) -> None:
    own = ["profile.seed=1", "profile.images=32"]
    done = autocomp(folder, "search", "--out", "own", "searcher=annealing", *SMALL, *SEARCH, *own)
    assert done.returncode == 0, done.stderr
    summary, before = (json.loads((path / "summary.json").read_text()) for path in (folder / "own", searched))
    assert summary["profile_passes"] > 0
    # a trial and its polish without training take the same in both runs, whatever they try, but for activations, which are left alone
    assert summary["image_passes"] - before["image_passes"] == pytest.approx(summary["profile_passes"], abs=1)


def test_a_profile_that_is_turned_off_is_not_measured(folder: Path, autocomp: Autocomp) -> None:
    done = autocomp(folder, "search", "--out", "off", *SMALL, *SEARCH, "searcher=annealing", "profile.enabled=false")
    assert done.returncode == 0, done.stderr
    assert "profiling" not in done.stdout
    assert not (folder / "off" / "profile.json").exists()
    assert json.loads((folder / "off" / "summary.json").read_text())["profile_passes"] == 0
