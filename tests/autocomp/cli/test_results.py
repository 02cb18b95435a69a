from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from autocomp.cli import main
from autocomp.cli.composing import ConfigTree
from autocomp.results import CONFIG, FRONT, SUMMARY
from autocomp.tables import write_table
from autocomp.tracking import RUN_FILE

TEACHER = {"accuracy": 0.99, "test_accuracy": 0.98, "latency_s": 2e-5, "energy_j": 4e-5, "size_bytes": 100_000.0}
SMALL = {"trial_id": 7, "accuracy": 0.985, "test_accuracy": 0.97, "latency_s": 5e-6, "energy_j": 1e-5, "size_bytes": 25_000.0}
TINY = {"trial_id": 3, "accuracy": 0.9, "test_accuracy": 0.89, "latency_s": 1e-6, "energy_j": 2e-6, "size_bytes": 5_000.0}


def finished_run(folder: Path, *, best: dict[str, float] | None = SMALL, uri: str = "sqlite:///mlflow.db") -> str:
    """The files of a run that `autocomp show` reads."""
    summary = {"name": "digits-fpga", "teacher": TEACHER, "best": best, "trials": {"COMPLETE": 5, "PRUNED": 2}}
    (folder / SUMMARY).write_text(json.dumps(summary))
    (folder / CONFIG).write_text(yaml.safe_dump({"best": {"max_drop": 0.01}, "tracking": {"enabled": True, "uri": uri}}))
    write_table(pa.Table.from_pylist([SMALL, TINY]), folder / FRONT)
    (folder / RUN_FILE).write_text('{"registered": true}')
    return str(folder)


def test_show_sets_the_front_beside_the_teacher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", finished_run(tmp_path)]) == 0
    out = capsys.readouterr().out
    # 5 of 20 us, 10 of 40 uJ and 25 of 100 kB are 25 %; 98.5 is half a point less than 99
    assert "7 * 98.50 % -0.50 97.00 % 5.0 µs 25% 10.00 µJ 25% 25.0 kB 25%" in " ".join(out.split())
    assert "Trials:  5 complete, 2 pruned; 2 on the front" in out
    assert "Best *:  trial 7, the cheapest with an accuracy drop of at most 0.01" in out
    assert out.endswith("Pull:    autocomp pull digits-fpga --out DIR\n")


def test_show_says_why_an_inaccurate_member_is_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", finished_run(tmp_path, best=TINY, uri="http://mlflow:5000")]) == 0
    out = capsys.readouterr().out
    assert "trial 3, the most accurate; none has an accuracy drop of at most 0.01" in out
    assert "autocomp pull digits-fpga --out DIR --uri http://mlflow:5000" in out


def test_what_no_mlflow_took_is_found_in_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished_run(tmp_path)
    (tmp_path / RUN_FILE).write_text('{"uri": "http://mlflow:5000", "run_id": "1"}')  # as after a run whose server fell silent
    assert main(["show", run]) == 0
    assert capsys.readouterr().out.endswith(f"Model:   {tmp_path}/models/trial-0007\n")
    (tmp_path / RUN_FILE).unlink()  # as after one whose server never answered
    assert main(["show", run]) == 0
    assert capsys.readouterr().out.endswith(f"Model:   {tmp_path}/models/trial-0007\n")


def test_show_can_print_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", finished_run(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == SMALL


def chosen_anew(folder: Path) -> str:
    """A finished run with all that a choice of the best needs: a whole configuration, and the front in its summary."""
    finished_run(folder)
    (folder / CONFIG).write_text(yaml.safe_dump(ConfigTree().compose(["tracking=none"])))
    summary = json.loads((folder / SUMMARY).read_text())
    (folder / SUMMARY).write_text(json.dumps(summary | {"front": [SMALL, TINY]}))
    return str(folder)


def test_the_best_can_be_chosen_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = chosen_anew(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["show", run, "--prefer", "accurate", "best.limits.latency_s=20%"]) == 0  # of 20 us
    out = capsys.readouterr().out
    assert "Best *:  trial 3, the most accurate, within latency_s 20%" in out
    assert "3 *" in out
    assert out.endswith(f"Model:   {tmp_path}/models/trial-0003\n")
    assert main(["show", run, "--json", "best.max_drop=0.2"]) == 0  # the knee of two is the cheaper one
    assert json.loads(capsys.readouterr().out)["best"] == TINY
    assert main(["show", run, "--json", "--prefer", "weighted", "best.weights={accuracy:100,latency_s:1}"]) == 0
    assert json.loads(capsys.readouterr().out)["best"] == SMALL
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prefer", "knees"], "There is no `best.rule` 'knees'. Did you mean 'knee'?"),
        (["seed=3"], "Here only settings below `best` can be changed, but 'seed' is none of them."),
        (["best.drop=3"], "There is no setting 'best.drop'."),
        (["best.costs=[speed]"], "`best.costs` may name accuracy, energy_j, latency_s, size_bytes, but names 'speed'."),
    ],
)
def test_a_best_that_cannot_be_chosen_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["show", chosen_anew(tmp_path), *arguments]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_resuming_a_finished_run_only_prints_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", finished_run(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == "This run is finished.\n"
    assert "Front of digits-fpga" in captured.out


def test_show_of_an_unfinished_run_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished_run(tmp_path)
    (tmp_path / SUMMARY).unlink()
    assert main(["show", str(tmp_path)]) == 2
    assert f"continue it with `autocomp resume {tmp_path}`" in capsys.readouterr().err


def test_a_missing_database_is_a_one_line_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--uri", f"sqlite:///{tmp_path}/none.db"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
