"""A plug-in package as its author would publish it: installed by pip in a clean environment, chosen with ``--hw``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "plugins" / "acme"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment: what this one has installed can be imported there, the plug-in is installed there."""
    pytest.importorskip("hatchling", reason="the build backend is part of the extra dev")
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own / "installed.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n", encoding="utf-8")
    install: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", str(PLUGIN)]
    subprocess.run(install, check=True, capture_output=True)
    return python


def run(python: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([python, *command], cwd=cwd, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True, check=False)


def autocomp(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run(python, "-m", "autocomp.cli", *arguments, cwd=cwd)


def test_the_plug_in_is_not_installed_here() -> None:
    assert subprocess.run([sys.executable, "-c", "import acme"], capture_output=True, check=False).returncode


def test_the_plug_in_keeps_the_contract(python: Path, tmp_path: Path) -> None:
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(PLUGIN), str(PLUGIN / "tests"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_the_plug_in_is_listed_and_prices_a_network(python: Path, tmp_path: Path) -> None:
    listed = json.loads(autocomp(python, "hw", "list", "--json", cwd=tmp_path).stdout)
    assert "acme" in {row["name"] for row in listed}
    done = autocomp(python, "hw", "score", "--hw", "acme", "--model", "lenet5", "--json", cwd=tmp_path)
    score = json.loads(done.stdout)
    # LeNet-5 has 2 293 000 MACs; each layer alone is bound by 64 lanes at 500 MHz or by 4 GB/s
    assert score["macs"] == 2_293_000
    assert score["latency_s"] >= 2_293_000 / 64 / 5e8


def test_a_search_on_the_plug_in_runs(python: Path, tmp_path: Path) -> None:
    settings = ("--hw", "acme", "--searcher", "random", "--trials", "2", "--workers", "1", "finetune=none", "tracking=none")
    done = autocomp(python, "search", *settings, "--out", str(tmp_path / "run"), "-q", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert summary["trials"]["COMPLETE"] == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [("raises", "raised ZeroDivisionError: the table has no entry for 4 bit"), ("nan", "latency_s of layer 'conv1' is nan")],
)
def test_a_faulty_plug_in_ends_a_score_with_one_line(python: Path, tmp_path: Path, fault: str, said: str) -> None:
    folder = tmp_path / "lab" / "hw"
    folder.mkdir(parents=True)
    (folder / "faulty.yaml").write_text(f"_target_: acme.broken.Broken\nfault: {fault}\n", encoding="utf-8")
    arguments = ("hw", "score", "--hw", "faulty", "--model", "lenet5", "--weight-bits", "4", "--config-dir", str(tmp_path / "lab"))
    done = autocomp(python, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "'acme_broken'" in done.stderr
    assert said in done.stderr


def test_a_search_goes_on_where_a_plug_in_fails_on_some_configurations(python: Path, tmp_path: Path) -> None:
    settings = ("--hw", "acme_broken", "--searcher", "annealing", "--trials", "4", "--workers", "1", "finetune=none", "tracking=none")
    done = autocomp(python, "search", *settings, "--out", str(tmp_path / "run"), cwd=tmp_path)
    counts = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["trials"]
    assert sum(counts.values()) == 4, done.stderr
    assert "the table has no entry for 4 bit" in done.stdout + done.stderr
