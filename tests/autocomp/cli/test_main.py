from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import autocomp
from autocomp.cli import explain, main
from autocomp.errors import DataError, UnreachableLimitError
from hwmodels import DeviceError


def test_help_does_not_wait_for_heavy_libraries() -> None:
    code = (
        "import sys; from autocomp.cli import main; main(['--help']); print(*sorted({'torch', 'ray', 'hydra', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "search" in done.stdout
    assert done.stdout.splitlines()[-1] == ""


def test_no_verb_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage: autocomp" in capsys.readouterr().out


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"autocomp {autocomp.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["serch"], "Did you mean 'search'?"),
        (["search", "--trials", "abc"], "Invalid value for '--trials'"),
        (["search", "--nonsense"], "--nonsense"),
        (["pull", "digits-fpga"], "Missing option '--out'"),
        (["hw"], "Missing command"),
        (["show", "nowhere"], "'nowhere' has none; it is no run folder"),
        (["resume", "nowhere"], "'nowhere' has none"),
        (["search", "--hw", "fgpa"], "There is no hardware 'fgpa'. Did you mean 'fpga'? Known: arria10, asic,"),
        (
            ["search", "--task", "digitz"],
            "There is no task 'digitz'. Did you mean 'digits'? Known: cifar10,",
        ),
        (
            ["search", "--searcher", "annealer"],
            "There is no searcher 'annealer'. Did you mean 'annealing'? Known: amc, annealing,",
        ),
        (["search", "--space", "bit"], "There is no search space 'bit'. Did you mean 'bits'?"),
        (["search", "--task", "mnist"], "`task.data` has no default; set it with task.data=VALUE."),
        (["search", "--config-dir", "nowhere"], "there is none at 'nowhere'"),
        (["search", "trials=0"], "`trials` must be at least 1, but is 0."),
        (["search", "profile.images=0"], "`profile.images` must be at least 2, but is 0."),
        (["profile", "profile.images=0"], "`profile.images` must be at least 2, but is 0."),
        (["profile", "profile.mixtures=-1"], "`profile.mixtures` must be at least 0, but is -1."),
        (["profile", "profile.images=many"], "profile.images"),
        (["profile", "--space", "bit"], "There is no search space 'bit'. Did you mean 'bits'?"),
        (["hw", "score", "--hw", "fpgaa"], "There is no hardware 'fpgaa'."),
        (["hw", "score", "--model", "resnet21"], "There is no network 'resnet21'. Did you mean 'resnet"),
        (["hw", "show", "zcu103"], "Did you mean 'zcu102'?"),
    ],
)
def test_bad_requests_end_with_exit_code_2_and_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("autocomp: error: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err


@pytest.mark.parametrize(
    ("error", "code"),
    [(UnreachableLimitError("x"), 1), (DataError("x"), 2), (DeviceError("x"), 2)],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert explain(error) == ("x", code)


def test_an_unexpected_error_says_how_to_see_more() -> None:
    message, code = explain(ZeroDivisionError("division\nby zero"))
    assert message == "ZeroDivisionError: division by zero (unexpected; AUTOCOMP_DEBUG=1 shows where)"
    assert code == 1
