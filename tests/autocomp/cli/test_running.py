from __future__ import annotations

from pathlib import Path

import pytest

from autocomp.cli import main
from autocomp.cli.running import run_folder

INTERRUPTED_TASK = '''
from autocomp.tasks import DigitsTask

class InterruptedTask(DigitsTask):
    """The user presses Ctrl-C while data is loaded."""

    def train(self):
        raise KeyboardInterrupt
'''


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOCOMP_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_a_run_folder_that_is_not_named_is_new_each_time() -> None:
    config = {"out": None, "name": "digits-fpga"}
    first = run_folder(config)
    first.mkdir(parents=True)
    second = run_folder(config)
    assert first.parent == Path("runs")
    assert first.name.endswith("-digits-fpga")
    assert second != first
    assert not second.exists()


def test_a_folder_with_a_run_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("old").mkdir()
    Path("old", "config.yaml").touch()
    assert main(["search", "--out", "old"]) == 2
    assert "'old' holds a run already; continue it with `autocomp resume old`" in capsys.readouterr().err


def test_a_file_is_no_run_folder(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert main(["search", "--out", "file"]) == 2
    assert "'file' is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--task", "mnist", "task.data=nowhere"], "nowhere"),
        (["task.epochs=1", "space.rules=[{match: layer9, sparsity: [0, 0.5]}]"], "layer9"),
        (["hw.parameters.clock_ghz=fast"], "clock_ghz"),
    ],
)
def test_a_request_that_cannot_be_carried_out_writes_nothing(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["search", "-q", "--out", "new", *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_with_130(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab_task.py").write_text(INTERRUPTED_TASK)
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "lab.yaml").write_text("_target_: lab_task.InterruptedTask\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["search", "-q", "--config-dir", str(tmp_path), "--task", "lab", "--out", "new"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert not Path("new").exists()
