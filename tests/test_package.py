"""The built wheel, used from another directory: an editable install hides package data that is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("autocomp", "hwmodels", "search_spaces")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel."""
    pytest.importorskip("hatchling", reason="the build backend is part of the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "content")
    return folder / "content"


def test_the_wheel_has_every_source_and_data_file(unpacked: Path) -> None:
    kept = {".py", ".yaml", ".csv", ".typed"}
    expected = {p.relative_to(ROOT) for name in PACKAGES for p in (ROOT / name).rglob("*") if p.suffix in kept}
    assert expected <= {p.relative_to(unpacked) for p in unpacked.rglob("*")}
    assert Path("search_spaces/config.yaml") in expected


def test_the_wheel_works_from_another_directory(unpacked: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(unpacked)}
    code = "import autocomp, search_spaces; print(autocomp.__file__); from autocomp.cli import main; raise SystemExit(main(['hw', 'list']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(unpacked))
    for name in ("fpga", "asic", "rram", "zcu102"):
        assert name in done.stdout


def test_the_version_stands_in_one_place_only() -> None:
    import autocomp

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "autocomp/__init__.py"
    assert autocomp.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
